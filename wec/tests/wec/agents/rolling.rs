//! A rolling restart of agents during a run.

use std::collections::BTreeMap;

use wec_board::{AgentState, AgentsView, PlanState};

use super::bed::Bed;
use crate::common::{signal, until};
use crate::sharing::counted::{Chains, Counted};

const NAMES: [&str; 2] = ["a", "b"];
const RATE: u32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_result_and_never_exceeds_the_target() {
    let bed = Bed::etcd().await;
    let counted = Counted::in_file(bed.seconds());
    let mut agents: BTreeMap<_, _> = NAMES.iter().map(|name| (*name, bed.agent(name, &[]))).collect();
    let keys = format!("rate = \"{RATE}/s\"\nspacing = \"even\"\nworkers = 300\nrun_time = \"10m\"\n");
    let file = bed.scenario("night", &keys);
    bed.wec(&["session", "create", &file]);
    bed.wec(&["session", "start", "night"]);
    let until_shared = async || {
        let mut shares = bed.board.shares("night");
        let settled = shares.wait_for(|shares| {
            shares.nodes.len() == NAMES.len() && shares.nodes.values().all(|share| share.limit.is_none())
        });
        settled.await.unwrap();
        let at = counted.seconds().last().map_or(0, |(second, _)| second + 1);
        until("the CA gets its target", || counted.reached(RATE.into(), at, 2).is_some());
    };
    until_shared().await;
    for name in NAMES {
        let agent = agents.remove(name).unwrap().0.take().unwrap();
        signal(&agent, "-TERM");
        let ended = agent.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{}", bed.said(name));
        agents.insert(name, bed.agent(name, &[]));
        let again = |view: &AgentsView| {
            let task = view.tasks.get(&("night".to_owned(), name.to_owned()));
            task.is_some_and(|task| task.taken == 2 && task.state == AgentState::TestRunning)
        };
        bed.until("it takes its part again", again).await;
        until_shared().await;
    }
    bed.wec(&["session", "stop", "night"]);
    bed.until_state("night", PlanState::Stopped).await;
    agents.into_values().for_each(|agent| drop(agent.interrupt()));
    let chains = Chains::of(&bed.log());
    let accounts = bed.ca.stop()["accounts"].as_u64().unwrap();
    assert_eq!(accounts, chains.sent, "nothing is lost or counted twice");
    chains.assert_starts(RATE, NAMES.len());
    counted.assert_never_over(RATE, NAMES.len(), &chains);
}
