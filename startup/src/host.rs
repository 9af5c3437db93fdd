//! What a process is called.

/// A process's name for people: what was given, else the host's.
pub fn node_name(given: Option<&str>) -> String {
    let host = || {
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())
    };
    let name = given.map(str::to_owned).or_else(host).unwrap_or_default();
    match name.trim() {
        "" => "node".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_given_and_never_empty() {
        assert_eq!(node_name(Some("east-1")), "east-1");
        assert_eq!(node_name(Some(" ")), "node");
        assert!(!node_name(None).is_empty());
    }
}
