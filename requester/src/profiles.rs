//! Checks that the CA offers the certificate profiles of the plan.

use std::collections::BTreeSet;

use wec_acme::Meta;

use crate::error::StartError;
use crate::plan::Plan;

/// Checks that the directory offers every profile of the plan (draft-ietf-acme-profiles §3): the CA would
/// refuse orders with another one.
///
/// # Errors
/// [`StartError::Profiles`], with the offered ones.
pub(crate) fn check(plan: &Plan, meta: &Meta) -> Result<(), StartError> {
    let wanted = plan.scenarios.iter().flat_map(|scenario| scenario.choices.profiles.items());
    let missing: BTreeSet<String> = wanted
        .filter_map(|profile| profile.name().map(str::to_owned))
        .filter(|name| !meta.profiles.contains_key(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(StartError::Profiles {
        directory: plan.directory.to_string(),
        missing: missing.into_iter().collect(),
        offered: meta.profiles.keys().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlanOptions;

    fn told(profile: &str, offered: &[&str]) -> Result<(), String> {
        let options = PlanOptions::default().with("directory", "https://127.0.0.1:14000/dir");
        let plan = options.with("profile", profile).resolve(None).unwrap();
        let profiles = offered.iter().map(|name| ((*name).to_owned(), "what it is".into())).collect();
        check(&plan, &Meta { profiles, ..Meta::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_profile_that_the_directory_lacks_is_refused_with_the_offered_ones() {
        let boulder = ["legacy", "modern", "shortlived"];
        assert_eq!(told("shortlived=1,legacy=3,default", &boulder), Ok(()));
        assert_eq!(told("default", &[]), Ok(()));
        assert_eq!(
            told("shortlived,classic=0", &boulder),
            Ok(()),
            "a profile of weight zero is never ordered"
        );
        assert_eq!(
            told("shortlived,classic", &boulder).unwrap_err(),
            "the CA at https://127.0.0.1:14000/dir does not offer the profile classic: with --profile give some of \
             legacy, modern, shortlived, or default"
        );
        assert_eq!(
            told("classic", &[]).unwrap_err(),
            "the CA at https://127.0.0.1:14000/dir offers no profiles, but the plan has classic: omit --profile"
        );
        assert!(told("x", &["bell\u{7}"]).unwrap_err().contains("bell\\u{7}"));
    }
}
