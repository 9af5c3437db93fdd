//! The processes on the board, each with the figures of its machine.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wec_board::{ClockOffset, NodeInfo, NodeKind, NodeState, Strength};
use wec_node_stats::NodeStats;

use super::Web;
use super::error::{ApiError, ErrorBody, Refusals};

/// The processes on the board
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Machines {
    /// In the order of their ids.
    pub machines: Vec<Machine>,
}

/// A process on the board, and its machine
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// New with each start of the process.
    pub id: String,
    /// The host's name, usually.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Its state.
    pub state: NodeState,
    /// What it offers to its session now.
    pub strength: Strength,
    /// Its share of its session's workers now, 0 to 1; null for one that takes no share.
    pub share: Option<f64>,
    /// The version of its program; empty for one that does not tell it.
    pub version: String,
    /// Its session; empty for a node that serves all sessions.
    pub session: String,
    /// Its clock beside the board's time; null while it is not known.
    pub clock: Option<ClockOffset>,
    /// CPU, memory and disks of its machine; null if it or this service serves no node statistics.
    pub machine: Option<NodeStats>,
}

/// The processes on the board, with CPU, memory and disks of their machines
#[utoipa::path(
    get,
    path = "/api/v1/machines",
    operation_id = "list_machines",
    tag = "figures",
    responses(
        Refusals,
        (status = OK, description = "The processes", body = Machines),
    )
)]
pub(super) async fn list(State(web): State<Arc<Web>>) -> Json<Machines> {
    Json(web.machines().await)
}

/// The same every second, as Server-Sent Events
#[utoipa::path(
    get,
    path = "/api/v1/machines/live",
    operation_id = "watch_machines",
    tag = "figures",
    responses(
        Refusals,
        (
            status = OK,
            description = "Events `machines`; the data of each is one `Machines`",
            body = Machines,
            content_type = "text/event-stream"
        ),
        (status = SERVICE_UNAVAILABLE, description = "Too many pages are watching", body = ErrorBody),
    )
)]
pub(super) async fn live(
    State(web): State<Arc<Web>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let seconds = web.seconds()?;
    let events = stream::unfold((web, seconds), |(web, mut seconds)| async move {
        seconds.next().await?;
        let event = Event::default().event("machines").json_data(web.machines().await);
        let event = event.expect("the machines have string keys and finite numbers");
        Some((Ok(event), (web, seconds)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Web {
    /// The processes on the board; node statistics are asked for theirs, as `wec node watch` asks.
    async fn machines(&self) -> Machines {
        let machines = match &self.node_stats {
            Some(server) => server.all().await.nodes,
            None => Default::default(),
        };
        let nodes = self.board.nodes().borrow().clone();
        let of_machines: Vec<_> =
            nodes.iter().map(|node| machines.get(address_of(&nodes, node)?).cloned()).collect();
        let processes = nodes.into_iter().zip(of_machines).map(|(node, machine)| Machine {
            machine,
            share: node.shares_load_of(&node.session).then(|| self.share(&node)),
            id: node.id,
            name: node.name,
            kind: node.kind,
            state: node.state,
            strength: node.strength,
            version: node.version,
            session: node.session,
            clock: node.clock,
        });
        Machines { machines: processes.collect() }
    }

    /// A node's share of its session's workers.
    fn share(&self, node: &NodeInfo) -> f64 {
        const OF: u32 = 1_000_000;
        f64::from(self.board.shares(&node.session).borrow().workers(&node.id, OF)) / f64::from(OF)
    }
}

/// The address of the statistics of a node's machine: its own, or that of another process of the same name. An agent's parts
/// in sessions are processes on the board beside the agent, which has the statistics.
fn address_of<'a>(nodes: &'a [NodeInfo], node: &'a NodeInfo) -> Option<&'a str> {
    let beside = || nodes.iter().find(|other| other.name == node.name && other.stats.is_some());
    node.stats.as_deref().or_else(|| beside()?.stats.as_deref())
}

#[cfg(test)]
mod tests {
    use wec_board::NodeId;

    use super::*;

    #[test]
    fn a_part_of_an_agent_has_the_machine_of_the_agent() {
        let node = |name: &str, stats: Option<&str>| {
            let id = NodeId { stats: stats.map(str::to_owned), ..NodeId::new(name) };
            NodeInfo::new(&id, NodeKind::Requester, NodeState::Serving)
        };
        let nodes = [node("a", Some("a:7070")), node("a", None), node("b", None), node("a", Some("a:7071"))];
        let found: Vec<_> = nodes.iter().map(|node| address_of(&nodes, node)).collect();
        assert_eq!(found, [Some("a:7070"), Some("a:7070"), None, Some("a:7071")]);
    }
}
