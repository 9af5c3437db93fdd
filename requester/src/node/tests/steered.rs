//! The executor that adds and removes workers until a target of requests a second is reached, against a CA whose answers
//! take a known time.

use wec_record::Reach;

use super::*;

/// Registrations, each of one request, at this many requests a second.
fn plan(target: &str, workers: &str, run_time: &str) -> Plan {
    let plan = PlanOptions::default()
        .with("directory", "https://127.0.0.1:14000/dir")
        .with("target_rps", target)
        .with("workers", workers)
        .with("weights", Weights::only(Chain::Registration).to_string())
        .with("state", "sqlite::memory:")
        .with("threads", "1")
        .with("run_time", run_time);
    plan.resolve(None).unwrap()
}

/// The course of a run.
#[derive(Debug)]
struct Course {
    /// Time of each answer in seconds since the first request, ascending.
    answered: Vec<f64>,
    /// Workers, once a second: seconds since the first sample, and number.
    workers: Vec<(f64, u64)>,
    /// The last reach.
    reach: Option<Reach>,
}

impl Course {
    async fn of(run: Run) -> Self {
        let list = Arc::clone(&run.list);
        run.end().await;
        let results = list.results.borrow();
        let began = results.iter().map(|result| result.started).min().unwrap();
        let requests = results.iter().flat_map(|result| &result.requests);
        let mut answered: Vec<_> = requests.map(|request| (request.done - began) as f64 / 1e9).collect();
        answered.sort_by(f64::total_cmp);
        let loads = list.loads.lock().unwrap();
        let first = loads[0].0;
        let workers = loads.iter().map(|(at, load)| ((at - first) as f64 / 1e9, load.scenarios[0].workers));
        let reach = loads.last().unwrap().1.scenarios[0].reach;
        Self { answered, workers: workers.collect(), reach }
    }

    fn rate(&self, from: f64, to: f64) -> f64 {
        self.answered.iter().filter(|at| (from..to).contains(*at)).count() as f64 / (to - from)
    }

    /// Within the documented 5 %; each five seconds for themselves within 10 %.
    fn holds(&self, target: f64, from: f64, to: f64) {
        let near = |rate: f64, share: f64| (rate / target - 1.0).abs() <= share;
        assert!(near(self.rate(from, to), 0.05), "{} of {target}", self.rate(from, to));
        let fives = (0..((to - from) / 5.0) as u32).map(|five| from + 5.0 * f64::from(five));
        let rates: Vec<_> = fives.map(|at| self.rate(at, at + 5.0)).collect();
        assert!(rates.iter().all(|rate| near(*rate, 0.1)), "{rates:?} of {target}");
    }

    fn most_workers(&self) -> u64 {
        self.workers.iter().map(|(_, workers)| *workers).max().unwrap()
    }
}

#[test]
fn a_target_is_reached_within_ten_seconds_and_held() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        ca.answers_after(Duration::from_millis(40));
        let (reported, _until) = Reported::start();
        let course = Course::of(Run::start("a", plan("60", "80", "26s"), Fake::new(&ca, &board))).await;
        course.holds(60.0, 10.0, 25.0);
        assert!(course.most_workers() <= 80, "{course:?}");
        // The end of the run, when the target is zero, does not change the reach.
        assert_eq!(course.reach, Some(Reach::Reached));
        assert!(!reported.has("not reached"));
    });
}

#[test]
fn a_target_above_the_cap_is_reported_and_the_cap_holds() {
    paused(async {
        // Two workers make at most twenty requests a second of 100 ms each.
        let (ca, board) = (Ca::new(true), Board::local());
        let (reported, _until) = Reported::start();
        let course = Course::of(Run::start("a", plan("100", "2", "15s"), Fake::new(&ca, &board))).await;
        assert!(reported.has("the cap on workers is too low"));
        assert_eq!((course.most_workers(), course.reach), (2, Some(Reach::Capped)));
        let rate = course.rate(5.0, 14.0);
        assert!((19.0..=20.5).contains(&rate), "{rate}");
    });
}

#[test]
fn a_target_above_the_cas_capacity_is_reported_and_workers_stay_few() {
    paused(async {
        // Four requests at a time of 100 ms each: 40 a second, the others wait.
        let (ca, board) = (Ca::new(true), Board::local());
        ca.works_on(4);
        let (reported, _until) = Reported::start();
        let course = Course::of(Run::start("a", plan("150", "1000", "30s"), Fake::new(&ca, &board))).await;
        assert!(reported.has("more workers do not increase the rate"));
        assert_eq!(course.reach, Some(Reach::Saturated));
        let rate = course.rate(10.0, 29.0);
        assert!((38.0..=41.0).contains(&rate), "the CA's capacity is 40/s: {rate}");
        // Little's law for an unloaded CA gives 15 workers; two increases by half give 34.
        assert!(course.most_workers() <= 150, "of 1000 allowed: {}", course.most_workers());
    });
}

#[test]
fn a_doubled_latency_needs_more_workers_without_oscillation() {
    paused(async {
        let (ca, board) = (Ca::new(true), Board::local());
        let run = Run::start("a", plan("40", "200", "45s"), Fake::new(&ca, &board));
        run.results(600).await;
        ca.answers_after(2 * LATENCY);
        let course = Course::of(run).await;
        let doubled = course.answered[600];
        course.holds(40.0, 8.0, doubled);
        course.holds(40.0, doubled + 10.0, 44.0);
        // Little's law gives 4 and then 8 workers.
        assert!(course.most_workers() <= 40, "{course:?}");
        let late = course.workers.iter().filter(|(at, _)| (doubled + 10.0..44.0).contains(at));
        let late: Vec<_> = late.map(|(_, workers)| *workers).collect();
        assert!(late.iter().max().unwrap() - late.iter().min().unwrap() <= 10, "{late:?}");
        let moves = late.windows(2).map(|pair| pair[1].cmp(&pair[0])).filter(|moved| moved.is_ne());
        let mut moves: Vec<_> = moves.collect();
        moves.dedup();
        assert!(moves.len() <= 5, "the number of workers oscillates: {late:?}");
    });
}
