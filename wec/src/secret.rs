//! Secrets of a plan. They come from the environment, and have no flags.

/// The HMAC key of the external account binding.
pub(crate) fn eab_hmac_key() -> Option<String> {
    std::env::var("WEC_EAB_HMAC_KEY").ok()
}
