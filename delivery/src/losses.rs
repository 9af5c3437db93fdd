//! Losses by reason, until they have been reported to analytics.

/// Most separate reasons; losses with further reasons are added to the last.
const REASONS: usize = 16;

/// How many records were lost, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses(Vec<(u64, String)>);

impl Losses {
    pub(crate) fn add(&mut self, count: u64, why: &str) {
        if count == 0 {
            return;
        }
        if let Some((known, _)) = self.0.iter_mut().find(|(_, known)| known == why) {
            *known += count;
        } else if self.0.len() < REASONS {
            self.0.push((count, why.to_owned()));
        } else if let Some((last, _)) = self.0.last_mut() {
            *last += count;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(count, _)| count).sum()
    }

    /// The reason that was added last.
    pub(crate) fn last_why(&self) -> Option<&str> {
        self.0.last().map(|(_, why)| why.as_str())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.0.iter().map(|(count, why)| (*count, why.as_str()))
    }
}

impl IntoIterator for Losses {
    type Item = (u64, String);
    type IntoIter = std::vec::IntoIter<(u64, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_bounded_number_of_separate_reasons() {
        let mut losses = Losses::default();
        losses.add(2, "full");
        losses.add(0, "nothing");
        losses.add(1, "damaged");
        losses.add(3, "full");
        assert_eq!(
            losses.clone().into_iter().collect::<Vec<_>>(),
            [(5, "full".into()), (1, "damaged".into())]
        );
        (0..100).for_each(|reason| losses.add(1, &reason.to_string()));
        assert_eq!((losses.total(), losses.iter().count()), (106, REASONS));
    }
}
