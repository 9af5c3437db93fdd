//! This node's membership in a session.

use tokio::sync::watch;
use wec_acme::Clock;
use wec_board::{
    Board, BoardError, ClockKeeper, Entry, Membership, NodeId, NodeInfo, NodeKind, NodeState, SendRight,
    Session, Strength, Target,
};

/// Held from before a run's first preparations until its last result has been delivered, so that others can
/// distinguish an active run from an abandoned one.
///
/// A member gets a share of the load only while it is [`ready`](Self::ready).
#[derive(Debug)]
pub struct SessionMembership {
    /// The session when this node joined.
    pub(crate) session: Session,
    /// This node's number among all nodes of the run so far, from 0.
    pub(crate) place: u64,
    /// What this node can do.
    pub(crate) strength: watch::Receiver<Strength>,
    membership: Membership,
}

impl SessionMembership {
    /// Joins the board and the session: the existing one if it has live nodes, else `wanted`.
    ///
    /// # Errors
    /// When others are ending the session, or the board cannot be written.
    pub async fn take(board: &Board, wanted: Session, node: &NodeId) -> Result<Self, BoardError> {
        let strength = watch::Sender::new(Strength::UNMEASURED).subscribe();
        Self::take_with(strength, board, wanted, node).await
    }

    /// The same for a node that was measured.
    ///
    /// # Errors
    /// When others are ending the session, or the board cannot be written.
    pub async fn take_with(
        strength: watch::Receiver<Strength>,
        board: &Board,
        wanted: Session,
        node: &NodeId,
    ) -> Result<Self, BoardError> {
        let info = NodeInfo {
            strength: *strength.borrow(),
            session: wanted.spec.id.clone(),
            ..NodeInfo::new(node, NodeKind::Requester, NodeState::Preparing)
        };
        let membership = board.join(info).await?;
        let session = match board.join_or_create(&wanted, &node.id).await {
            Ok(session) => session.value,
            Err(error) => {
                membership.leave().await;
                return Err(error);
            }
        };
        if session.status.run != wanted.status.run && !starts_as(&session, &wanted) {
            tracing::warn!(
                session = wanted.spec.id,
                "others run this session already: its {} workers are shared, and the {} asked for here are not used; \
                 change the load on the page, or name another session",
                session.workers(),
                wanted.workers(),
            );
        }
        let place = session.status.members.iter().position(|member| *member == node.id).unwrap_or_default();
        Ok(Self { session, place: place as u64, strength, membership })
    }

    /// The id of the run, which is in its results.
    pub fn run(&self) -> &str {
        &self.session.status.run
    }

    /// When the run began, nanoseconds since the Unix epoch; none when this node may be the first.
    pub const fn began_unix_ns(&self) -> Option<u64> {
        self.session.status.began_unix_ns
    }

    /// Compares a clock with the board's time; none on a board of this process.
    pub(crate) fn keep_clock(&self, board: &Board, session: &str, clock: Clock) -> Option<ClockKeeper> {
        self.right().ends().then(|| board.keep_clock(session, &self.membership, clock))
    }

    /// Its right to send.
    pub(crate) fn right(&self) -> SendRight {
        self.membership.right()
    }

    /// Its entry on the board.
    pub(crate) fn entry(&self) -> Entry {
        self.membership.entry()
    }

    /// Asks for a share of the load.
    pub(crate) fn ready(&mut self) {
        self.membership.set_state(NodeState::Running);
    }

    /// Returns its share to the others.
    pub(crate) fn rest(&mut self) {
        self.membership.set_state(NodeState::Finishing);
    }

    /// Leaves the board.
    pub async fn leave(self) {
        self.membership.leave().await;
    }
}

/// Whether both were started with the same targets and limits.
fn starts_as(one: &Session, other: &Session) -> bool {
    let (one, other) = (&one.spec, &other.spec);
    let same = |((name, target), (other_name, other)): ((&String, &Target), (&String, &Target))| {
        name == other_name && target.starts_as(other)
    };
    one.limits == other.limits
        && one.scenarios.len() == other.scenarios.len()
        && one.scenarios.iter().zip(&other.scenarios).all(same)
}

#[cfg(test)]
mod tests {
    use wec_board::{By, Change, SessionState};

    use super::*;

    fn wanted(run: &str, workers: u32) -> Session {
        Session::running("default", workers).of_run(run)
    }

    #[tokio::test]
    async fn a_session_of_an_ended_run_is_replaced_and_a_running_one_is_joined() {
        let board = Board::local();
        board.put_session(wanted("0", 500)).await.unwrap();
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let shown = || board.session("default").borrow().clone().unwrap().value;

        let one = SessionMembership::take(&board, wanted("1", 20), &NodeId::new("a")).await.unwrap();
        assert_eq!(
            (one.run(), one.place, shown().workers(), shown().spec.state),
            ("1", 0, 20, SessionState::Running)
        );
        board.change("default", Change::workers(By::Page, 30)).await.unwrap();
        let two = SessionMembership::take(&board, wanted("2", 99), &NodeId::new("b")).await.unwrap();
        assert_eq!((two.run(), two.place, shown().workers()), ("1", 1, 30));

        one.leave().await;
        board.change("default", Change::state(By::Page, SessionState::Stopped)).await.unwrap();
        let early = SessionMembership::take(&board, wanted("3", 7), &NodeId::new("c")).await.unwrap_err();
        assert!(matches!(early, BoardError::Ending(_)), "{early}");
        two.leave().await;
        let three = SessionMembership::take(&board, wanted("3", 7), &NodeId::new("c")).await.unwrap();
        assert_eq!((three.run(), three.place, shown().workers()), ("3", 0, 7));
    }
}
