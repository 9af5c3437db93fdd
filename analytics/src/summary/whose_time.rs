//! The parts of a chain's time and of a validation's, as lines.

use wec_figures::snapshot::{ChainFigures, Snapshot, Timing, ValidationFigures};
use wec_figures::wording::duration;

/// The lines; empty if nothing is known. Only means add up, so only means are shown.
pub(super) fn whose_time(snapshot: &Snapshot, prose: impl Fn(String) -> String) -> String {
    let chains: Vec<String> = snapshot
        .chains
        .iter()
        .filter_map(|(chain, figures)| Some(format!("  {chain}: {}\n", parts_of(figures)?)))
        .collect();
    let mut text = String::new();
    if !chains.is_empty() {
        text.push_str(&prose(
            "Where the time went, means of the N that succeeded, started to done:\n".to_owned(),
        ));
        chains.into_iter().for_each(|line| text.push_str(&prose(line)));
    }
    if !snapshot.validations.is_empty() {
        text.push_str(&prose(
            "Validations, means, challenge answered to settled; hits are by the challenge server's clock:\n"
                .to_owned(),
        ));
        for validation in &snapshot.validations {
            text.push_str(&prose(format!("  {}: {}\n", validation.challenge, validation_line(validation))));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn parts_of(figures: &ChainFigures) -> Option<String> {
    let time = &figures.time;
    let own = time.own_ns.mean?;
    let parts = [
        (time.requests_ns.mean, "in requests"),
        (time.connecting_ns.mean, "connecting"),
        (time.asked_ns.mean, "waited for Retry-After"),
        (time.polls_ns.mean, "waited for our interval"),
        (time.keys_ns.mean, "keys"),
        (Some(own), "own"),
    ];
    // The sum of the parts shown, because each mean is rounded down to a nanosecond.
    let whole = parts.iter().filter_map(|(mean, _)| *mean).sum();
    Some(format!("{} (N {}) = {}", duration(whole), time.own_ns.n, sum(&parts)))
}

fn validation_line(validation: &ValidationFigures) -> String {
    let mut line = of(&validation.time_ns);
    let hits = &validation.to_first_hit_ns;
    if hits.n > 0 {
        let parts = [
            (hits.mean, "to the first hit"),
            (validation.between_hits_ns.mean, "between first and last hit"),
            (validation.after_last_hit_ns.mean, "after the last hit"),
        ];
        // Validations with hits have their own mean, unless all have hits.
        if validation.without_hits > 0 {
            let whole = parts.iter().filter_map(|(mean, _)| *mean).sum();
            line.push_str(&format!("; with hits {} (N {})", duration(whole), hits.n));
        }
        line.push_str(&format!(" = {}", sum(&parts)));
    }
    if validation.without_hits > 0 {
        line.push_str(&format!("; {} without a hit", validation.without_hits));
    }
    if validation.clipped > 0 {
        line.push_str(&format!("; the first hit of {} is outside: the clocks differ", validation.clipped));
    }
    line
}

fn of(timing: &Timing) -> String {
    format!("{} (N {})", duration(timing.mean.unwrap_or(0)), timing.n)
}

/// The parts that are not empty, joined by plus signs.
fn sum(parts: &[(Option<u64>, &str)]) -> String {
    let shown = parts.iter().filter_map(|(mean, what)| {
        mean.filter(|mean| *mean > 0).map(|mean| format!("{} {what}", duration(mean)))
    });
    shown.collect::<Vec<_>>().join(" + ")
}
