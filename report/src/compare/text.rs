//! A comparison as text for a terminal, and as Markdown for a pull request.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table, TableComponent};
use wec_figures::wording::{counted, duration as time_text, rate as rate_text};
use wec_record::threshold::Unit;

use super::interval::{Change, Scale};
use super::{Comparison, Difference, DifferenceVerdict, Judged, RuleOutcome};

const HEAD: [&str; 7] = ["", "figure", "before", "after", "change", "95 % interval", ""];

impl Comparison {
    /// For a terminal or a file.
    pub fn text(&self) -> String {
        let mut text = format!("before  {}\nafter   {}\n\n", self.before.join(", "), self.after.join(", "));
        text = wec_text::printable(&text).into_owned();
        for warning in &self.warnings {
            text += &format!("Attention: {}\n", wec_text::visible(warning));
        }
        for rule in &self.rules {
            text += &format!("{:<9}  {}: {}\n", rule.verdict(), rule.rule, rule.about());
        }
        if !self.warnings.is_empty() || !self.rules.is_empty() {
            text.push('\n');
        }
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─');
        table.set_header(HEAD);
        for difference in self.differences.iter().filter(|difference| difference.has_any()) {
            let mut cells = difference.cells();
            cells[0] = wec_text::visible(&cells[0]).into_owned();
            table.add_row(cells);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if (2..6).contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        text.extend(table.lines().map(|line| line.trim_end().to_owned() + "\n"));
        text + "\n" + &self.about + "\n"
    }

    /// For a pull request: the rules and the differences beyond noise; the other figures are folded.
    pub fn markdown(&self) -> String {
        let mut text = "### Load test: before and after\n\n".to_owned();
        for warning in &self.warnings {
            text += &format!("> **Attention:** {}\n", escaped(warning));
        }
        if !self.warnings.is_empty() {
            text.push('\n');
        }
        for rule in &self.rules {
            text += &format!("- **{}** {}: {}\n", rule.verdict(), code(&rule.rule), escaped(&rule.about()));
        }
        if !self.rules.is_empty() {
            text.push('\n');
        }
        let known: Vec<_> = self.differences.iter().filter(|difference| difference.has_any()).collect();
        let (shown, others): (Vec<_>, Vec<_>) = known
            .into_iter()
            .partition(|difference| difference.change.is_some_and(|change| change.is_shown()));
        if shown.is_empty() {
            text += "No difference is shown.\n\n";
        } else {
            text += &rows(&shown);
        }
        text += &format!("{}\n\n", self.about);
        text += &format!(
            "<details><summary>The other {}</summary>\n\n{}</details>\n",
            counted(others.len() as u64, "figure", "figures"),
            rows(&others)
        );
        let runs = |runs: &[String]| runs.iter().map(|run| code(run)).collect::<Vec<_>>().join(", ");
        text + &format!("\nBefore: {}. After: {}.\n", runs(&self.before), runs(&self.after))
    }
}

/// The number of differences, and the number expected by chance alone.
pub(super) fn about(differences: &[Difference]) -> String {
    let compared = differences.iter().filter_map(|difference| difference.change);
    let (all, shown) =
        compared.fold((0_u64, 0_u64), |(all, shown), change| (all + 1, shown + u64::from(change.is_shown())));
    format!(
        "{shown} of {} differ by more than their own noise, at 95 %: chance alone makes about {:.0} of them differ. \
         A load that slows all chains at once makes intervals within one run too narrow: compare several runs a side.",
        counted(all, "figure", "figures"),
        0.05 * all as f64
    )
}

fn rows(differences: &[&Difference]) -> String {
    let mut text = "| | figure | before | after | change | 95 % interval | |\n| --- | --- | ---: | ---: | ---: | ---: | --- |\n".to_owned();
    for difference in differences {
        let cells = difference.cells();
        text += &format!("| {} |\n", cells.map(|cell| escaped(&cell)).join(" | "));
    }
    text + "\n"
}

/// Text without the effect of Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in wec_text::visible(text).chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '@' | '!' => escaped.extend(['\\', char]),
            _ => escaped.push(char),
        }
    }
    escaped
}

fn code(text: &str) -> String {
    format!("`{}`", wec_text::visible(text).replace('`', "'"))
}

impl Difference {
    fn has_any(&self) -> bool {
        self.before.is_some() || self.after.is_some()
    }

    fn cells(&self) -> [String; 7] {
        let key = &self.key;
        let name =
            if key.chain { format!("chain {}", key.name) } else { format!("{} {}", key.name, key.uri) };
        let name = name.trim_end().to_owned();
        let value = |value: Option<f64>| value.map_or("–".to_owned(), |value| shown(value, self.unit));
        let (change, interval) = match &self.change {
            None => ("–".to_owned(), String::new()),
            Some(change) => (signed(change.value, change, self.unit), between(change, self.unit)),
        };
        let verdict = match self.verdict {
            DifferenceVerdict::Better => "better",
            DifferenceVerdict::Worse => "WORSE",
            DifferenceVerdict::NoneShown => "no difference shown",
            DifferenceVerdict::TooFewSamples => "too few samples",
        };
        [
            name,
            self.figure.clone(),
            value(self.before),
            value(self.after),
            change,
            interval,
            verdict.to_owned(),
        ]
    }
}

impl Judged {
    const fn verdict(&self) -> &'static str {
        match self.outcome {
            RuleOutcome::Failed => "FAILED",
            RuleOutcome::Held => "held",
            RuleOutcome::MayBeNoise => "UNDECIDED",
            RuleOutcome::TooFewSamples => "UNDECIDED",
        }
    }

    fn about(&self) -> String {
        let Some(change) = &self.change else { return "a side has too few samples".to_owned() };
        let found = format!(
            "{}, 95 % interval {}",
            signed(change.value, change, self.unit),
            between(change, self.unit)
        );
        match self.outcome {
            RuleOutcome::MayBeNoise => {
                format!("{found}: more than allowed may be noise, so it does not fail")
            }
            _ => found,
        }
    }
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns => time_text(value.round() as u64),
        Unit::Share => format!("{:.2} %", 100.0 * value),
        Unit::PerSecond => format!("{}/s", rate_text(value)),
        Unit::Count => format!("{value}"),
    }
}

fn signed(value: f64, change: &Change, unit: Unit) -> String {
    let sign = if value < 0.0 { '−' } else { '+' };
    match (change.scale, unit) {
        (Scale::Relative, _) => format!("{sign}{:.1} %", 100.0 * value.abs()),
        (Scale::Difference, Unit::Share) => format!("{sign}{:.2} pp", 100.0 * value.abs()),
        (Scale::Difference, _) => format!("{sign}{}", shown(value.abs(), unit)),
    }
}

fn between(change: &Change, unit: Unit) -> String {
    format!("{} to {}", signed(change.low, change, unit), signed(change.high, change, unit))
}
