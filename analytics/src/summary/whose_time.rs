//! Where the time went, in lines: a chain's parts, and a validation's.

use crate::snapshot::{ChainFigures, Snapshot, Timing, ValidationFigures};
use crate::wording::duration;

/// The block of lines; empty where nothing is known. Only means are added up, so only they stand here.
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
        (time.asked_ns.mean, "waited as the CA asked"),
        (time.polls_ns.mean, "waited by our interval"),
        (time.keys_ns.mean, "keys"),
        (Some(own), "own"),
    ];
    // What shows is the sum of what shows: each mean is rounded down to a nanosecond.
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
        // Those with hits have a mean of their own, unless all have.
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
        line.push_str(&format!("; of {} the first hit lies outside: the clocks differ", validation.clipped));
    }
    line
}

fn of(timing: &Timing) -> String {
    format!("{} (N {})", duration(timing.mean.unwrap_or(0)), timing.n)
}

/// The parts that there were, joined by plus signs.
fn sum(parts: &[(Option<u64>, &str)]) -> String {
    let shown = parts.iter().filter_map(|(mean, what)| {
        mean.filter(|mean| *mean > 0).map(|mean| format!("{} {what}", duration(mean)))
    });
    shown.collect::<Vec<_>>().join(" + ")
}
