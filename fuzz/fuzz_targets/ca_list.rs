//! Any bytes as a CA's list of certificates, in hex or decimal.
#![no_main]

use wec_report::reconcile::{CaList, ListForm, Reconciler};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for decimal in [false, true] {
        let form = ListForm { decimal, ..ListForm::default() };
        if let Ok(list) = CaList::read(bytes, &form) {
            let _ = Reconciler::new(list).finish().text();
        }
    }
});
