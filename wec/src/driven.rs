//! The plan of a run whose load comes from elsewhere: from a log, or from a fleet.

use url::Url;
use wec_record::Chain;
use wec_requester::Plan;
use wec_requester::config::{Command, Decided, Mistakes, Push, Settings};

use crate::run::resolve;

/// The plan without its scenarios, with this directory if it is not in the settings. Keys that the command refuses are
/// errors, with this `way_out`.
pub(crate) fn plan<C: Command>(
    mut settings: Settings,
    directory: Option<Url>,
    way_out: &str,
) -> Result<Plan, Mistakes> {
    let weights = Chain::ALL.map(|chain| format!("weights.{chain}"));
    let mut keys = C::refused();
    keys.extend(weights.iter().map(String::as_str));
    settings.refuse(&keys, |_| way_out.to_owned());
    let push = Push::Workers { workers: 1, stages: Vec::new() };
    resolve(settings, Decided { directory, push, ..Decided::default() })
}

#[cfg(test)]
mod tests {
    use wec_requester::PlanOptions;
    use wec_requester::config::KeyPlace;

    use super::*;

    /// A key that the plan of such a run does not read has no effect, so it must be one of the load, which is refused.
    #[test]
    fn every_key_is_read_or_of_the_load() {
        let mut settings = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir").settings();
        let push = Push::Workers { workers: 1, stages: Vec::new() };
        wec_requester::config::plan::plan(&mut settings, Decided { push, ..Decided::default() }, None);
        let unread = settings.unread().into_iter();
        let unread = unread.filter(|key| !matches!(key.place, KeyPlace::Command | KeyPlace::Search));
        let missed: Vec<_> = unread.filter(|key| !key.sets_load).map(|key| key.name).collect();
        assert_eq!(missed, [""; 0]);
    }
}
