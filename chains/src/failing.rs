//! Validations that must fail: the right decisions of a CA, by fault and challenge type (ADR 94).

use wec_acme::{Failure, FailureClass};
use wec_record::{ChallengeType, Listener};
use wec_store::ValidationFault;

use crate::scene::Scene;

/// A challenge whose validation must fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MustFail {
    pub(crate) fault: ValidationFault,
    pub(crate) challenge: ChallengeType,
}

impl MustFail {
    /// The fault of a challenge, if the chain's order must fail and no earlier authorization has one.
    pub(crate) fn draw(scene: &mut Scene<'_>, challenge: ChallengeType) -> Option<Self> {
        if !std::mem::take(&mut scene.must_fail) {
            return None;
        }
        let faults = &scene.context.policy.choices.validation_faults;
        let fault = faults.draw(scene.rng, |fault| fault.is_possible(challenge))?;
        Some(Self { fault, challenge })
    }

    /// The problem types of a right decision (RFC 8555 §6.7): the standard's first, then those of known servers.
    const fn expected(self) -> &'static [&'static str] {
        use ValidationFault::{Nxdomain, Refused, Reset, Servfail, Silence, Slow, Wrong};
        match (self.fault, self.challenge.listener()) {
            (Wrong, _) | (Refused, Listener::Http) => &["incorrectResponse", "unauthorized"],
            (Nxdomain | Servfail | Refused | Silence, Listener::Dns) => &["dns", "unauthorized"],
            (Slow, Listener::Http) => &["connection", "incorrectResponse", "unauthorized"],
            (Refused | Reset | Silence | Slow, Listener::Tls) => &["connection", "tls", "unauthorized"],
            (Reset | Silence, Listener::Http) => &["connection"],
            // Not drawn.
            (Nxdomain | Servfail | Reset | Slow, _) => &["dns", "connection"],
        }
    }

    /// Judges what the CA decided about `name`. A right decision is a failure, too, because the order has no further
    /// use; the scene notes that it was on purpose.
    pub(crate) fn judge(self, scene: &mut Scene<'_>, name: &str, decided: Result<(), Failure>) -> Failure {
        let failure = match decided {
            Err(failure) => self.judge_failure(name, failure),
            Ok(()) => {
                let message = format!(
                    "the CA validated {name} by {}, although the challenge server's answer had the fault {}",
                    self.challenge, self.fault
                );
                Failure { detail: self.fault.name().into(), ..Failure::new(FailureClass::Accepted, message) }
            }
        };
        scene.failed_on_purpose = failure.kind == FailureClass::Validation;
        failure
    }

    fn judge_failure(self, name: &str, failure: Failure) -> Failure {
        let Self { fault, challenge } = self;
        let types = self.expected();
        match (failure.kind, &failure.problem) {
            (FailureClass::Validation, Some(problem)) if types.iter().any(|kind| problem.is(kind)) => failure,
            (FailureClass::Validation, _) => Failure {
                kind: FailureClass::Problem,
                detail: fault.name().into(),
                message: format!(
                    "{}; the fault {fault} of {challenge} must be the problem {}",
                    failure.message,
                    types.join(" or ")
                ),
                ..failure
            },
            (FailureClass::PollTimeout, _) => Failure {
                detail: fault.name().into(),
                message: format!(
                    "{}; the authorization of {name} must become invalid, because its validation had the fault {fault}",
                    failure.message
                ),
                ..failure
            },
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_decision_has_an_expected_problem() {
        let invalid = |kind: &str| {
            let problem = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"x"}}"#);
            Failure {
                problem: wec_acme::Problem::parse(problem.as_bytes()).map(Box::new),
                ..Failure::new(FailureClass::Validation, "authorization of a.test is invalid")
            }
        };
        for challenge in ChallengeType::ALL {
            for fault in ValidationFault::ALL.into_iter().filter(|fault| fault.is_possible(challenge)) {
                let must_fail = MustFail { fault, challenge };
                for kind in must_fail.expected() {
                    let judged = must_fail.judge_failure("a.test", invalid(kind));
                    assert_eq!(judged.kind, FailureClass::Validation, "{fault} {challenge} {kind}");
                }
                let judged = must_fail.judge_failure("a.test", invalid("caa"));
                assert_eq!((judged.kind, &*judged.detail), (FailureClass::Problem, fault.name()));
                assert!(judged.message.contains("must be the problem"), "{}", judged.message);
                let without = Failure { problem: None, ..invalid("dns") };
                assert_eq!(must_fail.judge_failure("a.test", without).kind, FailureClass::Problem);
            }
        }
        let reset = Failure::new(FailureClass::Reset, "x");
        let must_fail = MustFail { fault: ValidationFault::Wrong, challenge: ChallengeType::Http01 };
        assert_eq!(must_fail.judge_failure("a.test", reset.clone()), reset);
    }
}
