//! Refusals by our own machine: it has no descriptor, local port, buffer or memory left. They are never the CA's fault.

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Whether our own machine refused, by an error or any of its causes.
pub fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|error| shortage(error).is_some()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether this process, or the machine, has no file descriptor left now. Errors of name look-ups and of SQLite do
/// not contain this.
pub fn is_out_of_descriptors() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| shortage(&error).is_some())
}

/// What our own machine lacks, if this is the reason, and the way out.
pub fn shortage(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    match Errno::from_raw(error.raw_os_error().or_else(|| inner?.raw_os_error())?) {
        Errno::EMFILE => Some(
            "this process has no file descriptor left: raise its limit (ulimit -n) or use fewer connections",
        ),
        Errno::ENFILE => Some("this machine has no file descriptor left: raise fs.file-max"),
        // The latter is the error when binding to a source address.
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => Some(
            "this machine has no local port, or no address, for it: widen net.ipv4.ip_local_port_range, add source \
             addresses, or keep connections open for longer",
        ),
        Errno::ENOBUFS | Errno::ENOMEM => Some("this machine has no memory left for it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_refusal_of_this_machine_is_found_among_the_causes() {
        for (errno, ours) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::EADDRNOTAVAIL, true),
            (Errno::ENOBUFS, true),
            (Errno::ENOMEM, true),
            (Errno::ECONNREFUSED, false),
            (Errno::ECONNRESET, false),
            (Errno::ETIMEDOUT, false),
            (Errno::EHOSTUNREACH, false),
        ] {
            let raw = || io::Error::from_raw_os_error(errno as i32);
            assert_eq!(is_refusal(&raw()), ours, "{errno}");
            assert_eq!(is_refusal(&Outer(raw())), ours, "{errno} as a source");
            assert_eq!(is_refusal(&io::Error::other(raw())), ours, "{errno} wrapped");
        }
        assert!(!is_refusal(&io::Error::other("text")));
    }
}
