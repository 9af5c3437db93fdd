//! Any text as the metrics of another program. A series is read again as it is written.
#![no_main]

use wec_observe::exposition::parse;

libfuzzer_sys::fuzz_target!(|text: &str| {
    parse(text, |sample| {
        let (series, mut again) = (sample.series(), Vec::new());
        let defects = parse(&format!("{series} 1\n"), |same| again.push(same.series()));
        assert_eq!(defects.lines, 0, "{series}");
        // What the type of its family made a sample is left out without that.
        assert!(again == [series] || again.is_empty() && sample.name.ends_with("_bucket"), "{again:?}");
    });
});
