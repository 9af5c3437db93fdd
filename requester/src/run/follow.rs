//! Follows the board during a run: shares, targets and limits of the session, and what is missing of the target.

use std::collections::BTreeMap;
use std::convert::Infallible;

use tokio_util::sync::CancellationToken;
use wec_board::{LoadUnit, Quorum, Session, SessionState, Shares, Versioned};

use super::Parts;

/// Follows the board until `finish`: the shares of the load, and the targets of the session.
pub(super) async fn follow(parts: Parts, finish: CancellationToken) {
    let sharing = async {
        parts.board.keep_shares(&parts.session, &parts.node.id).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = follow_session(&parts, finish) => {}
        () = sharing => {}
        never = tell_quorum(&parts) => match never {},
        never = tell_missing(&parts) => match never {},
    }
}

/// Reports which part of the target is missing: because a node is gone, or because all nodes together cannot make
/// it. The first node of the session does that for all.
async fn tell_missing(parts: &Parts) -> Infallible {
    let mut shares = parts.board.shares(&parts.session);
    let mut session = parts.board.session(&parts.session);
    let mut before = Shares::default();
    let mut short = BTreeMap::new();
    loop {
        let now = shares.borrow_and_update().clone();
        let shown = session.borrow_and_update().clone();
        if let Some(Versioned { value, .. }) =
            shown.filter(|_| now.nodes.keys().next() == Some(&parts.node.id))
        {
            for text in lost(&value, &before, &now) {
                tracing::warn!("{text}");
            }
            let now_short = shortfalls(&value, &now);
            for (scenario, text) in &now_short {
                if short.get(scenario) != Some(text) {
                    tracing::warn!("{text}");
                }
            }
            short = now_short;
        }
        before = now;
        let changed = tokio::select! {
            changed = shares.changed() => changed,
            changed = session.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The scenarios with a rate: name, unit and target.
fn rates(session: &Session) -> impl Iterator<Item = (&String, LoadUnit, f64)> {
    session.spec.scenarios.iter().filter_map(|(name, target)| {
        let unit = if target.rate_unit == "requests" { LoadUnit::Requests } else { LoadUnit::Chains };
        Some((name, unit, target.rate?))
    })
}

/// The scenarios with a number of workers: name and target.
fn closed(session: &Session) -> impl Iterator<Item = (&String, u32)> {
    let closed = session.spec.scenarios.iter().filter(|(_, target)| target.rate.is_none());
    closed.map(|(name, target)| (name, target.workers))
}

/// What was missing because nodes are gone that had a share before and did not end in order.
fn lost(session: &Session, before: &Shares, now: &Shares) -> Vec<String> {
    let gone = before.nodes.keys().filter(|id| !now.nodes.contains_key(*id));
    let died = gone.filter(|id| !session.status.done.contains(id));
    let missing = died.flat_map(|id| {
        let told = move |scenario: &String, part: String| {
            format!(
                "the node {id} is gone: its {part} of the scenario {scenario} were missing until now, for at most the \
                 length of its lease"
            )
        };
        let rates = rates(session).map(move |(scenario, unit, rate)| {
            told(scenario, format!("{:.1} of {rate} {}/s", before.rate(id, unit, rate), unit.name()))
        });
        rates.chain(closed(session).map(move |(scenario, workers)| {
            told(scenario, format!("{} of {workers} workers", before.workers(id, workers)))
        }))
    });
    missing.collect()
}

/// By scenario, what the nodes cannot make of its target.
fn shortfalls(session: &Session, shares: &Shares) -> BTreeMap<String, String> {
    let short = |scenario: &String, unit: LoadUnit, target: f64| {
        let most = shares.most(unit);
        let missing = target - most;
        let (make, unit) = if unit == LoadUnit::Workers {
            ("run", "workers".to_owned())
        } else {
            ("make", format!("{}/s", unit.name()))
        };
        (missing > 0.0).then(|| {
            let text = format!(
                "the nodes can {make} {most} {unit} together, and the scenario {scenario} has a target of {target} {unit}: \
                 {missing:.1} are missing; start more nodes"
            );
            (scenario.clone(), text)
        })
    };
    let rates = rates(session).filter_map(|(scenario, unit, rate)| short(scenario, unit, rate));
    let workers =
        closed(session).filter_map(|(name, workers)| short(name, LoadUnit::Workers, workers.into()));
    rates.chain(workers).collect()
}

/// Reports a quorum that is missing, or that is not safe.
async fn tell_quorum(parts: &Parts) -> Infallible {
    let (mut nodes, mut places) = (parts.board.nodes(), parts.board.places());
    let (mut session, mut agents) = (parts.board.session(&parts.session), parts.board.agents());
    let (mut told, mut risk) = (true, None);
    loop {
        nodes.mark_unchanged();
        places.mark_unchanged();
        agents.mark_unchanged();
        session.mark_unchanged();
        let quorum = parts.board.quorum(&parts.session);
        match (quorum.lack(), std::mem::replace(&mut told, quorum.is_there())) {
            (Some(lack), true) => tracing::warn!("{lack}"),
            (None, false) => {
                let Quorum { live, known, needed, .. } = quorum;
                tracing::info!("the quorum of {needed} nodes is reached again: {live} of {known} live");
            }
            _ => {}
        }
        let before = std::mem::replace(&mut risk, quorum.risk());
        if let Some(risk) = risk.as_ref().filter(|risk| before.as_ref() != Some(risk)) {
            tracing::warn!("{risk}");
        }
        let changed = tokio::select! {
            changed = nodes.changed() => changed,
            changed = places.changed() => changed,
            changed = agents.changed() => changed,
            changed = session.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Ends the run when the session is stopped, and applies the session's limits to the store.
async fn follow_session(parts: &Parts, finish: CancellationToken) {
    let mut session = parts.board.session(&parts.session);
    loop {
        let now = session.borrow_and_update().clone();
        if let Some(Versioned { value, .. }) = now {
            if value.spec.state == SessionState::Stopped {
                finish.cancel();
            }
            parts.state.set_limits(value.spec.limits);
        }
        tokio::select! {
            changed = session.changed() => if changed.is_err() {
                return finish.cancelled().await;
            },
            () = finish.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use wec_board::{Held, NodeShare, Strength, Target};

    use super::*;

    fn shares(nodes: &[(&str, u64)]) -> Shares {
        let share = |chains: u64| NodeShare {
            registration: 1,
            strength: Strength { chains: chains * 1_000, ..Strength::UNMEASURED },
            limit: None,
            held: Held::default(),
        };
        let nodes = nodes.iter().map(|(id, chains)| ((*id).to_owned(), share(*chains))).collect();
        Shares { epoch: 1, nodes }
    }

    fn session(rate: f64) -> Session {
        let target = Target { rate: Some(rate), rate_unit: "chains".to_owned(), ..Target::default() };
        Session::new("s", BTreeMap::from([("a".to_owned(), target)]), wec_board::Limits::default())
    }

    #[test]
    fn a_node_that_died_is_reported_with_its_part_and_one_that_ended_is_not() {
        let (both, one) = (shares(&[("x", 300), ("y", 100)]), shares(&[("x", 300)]));
        let mut session = session(80.0);
        let told = lost(&session, &both, &one);
        assert!(
            told.len() == 1 && told[0].contains("the node y is gone: its 20.0 of 80 chains/s"),
            "{told:?}"
        );
        let mut closed = session.clone();
        closed.spec.scenarios.insert("a".to_owned(), Target { workers: 10, ..Target::default() });
        let told = lost(&closed, &both, &one);
        assert!(
            told.len() == 1 && told[0].contains("its 5 of 10 workers of the scenario a were missing"),
            "{told:?}"
        );
        session.status.done.push("y".to_owned());
        assert_eq!((lost(&session, &both, &one).len(), lost(&session, &one, &both).len()), (0, 0));
    }

    #[test]
    fn a_target_above_what_the_nodes_can_make_is_reported() {
        let nodes = shares(&[("x", 300), ("y", 100)]);
        assert!(shortfalls(&session(400.0), &nodes).is_empty());
        let told = shortfalls(&session(500.0), &nodes);
        let mut weak = nodes.clone();
        weak.nodes.values_mut().for_each(|share| share.strength.workers = 50);
        assert!(
            told["a"].contains("can make 400 chains/s together") && told["a"].contains("100.0 are missing")
        );
        let workers = |workers: u32| {
            let mut session = session(1.0);
            session.spec.scenarios.insert("b".to_owned(), Target { workers, ..Target::default() });
            shortfalls(&session, &weak)
        };
        assert!(workers(100).is_empty());
        let told = workers(130);
        assert!(told["b"].contains("can run 100 workers together") && told["b"].contains("30.0 are missing"));
    }
}
