//! Labels of agents, as in flags.

/// A label, as in `disk=ssd`: its key and its value.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.trim().is_empty());
    let (key, value) = pair.ok_or("is not KEY=VALUE, as in disk=ssd")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
