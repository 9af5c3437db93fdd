//! The board in a file: sessions remain after a process ends, nodes do not.

use std::time::Duration;

use wec_board::{Board, BoardError, By, Change, FileOptions, Session};

use crate::common::{a_dead_node_vanishes, requester};

#[tokio::test]
async fn sessions_outlive_the_processes_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = FileOptions::new(folder.path().join("board.db"));
    let first = Board::file(options.clone()).await.unwrap();
    let node = first.join(requester("a")).await.unwrap();
    first.put_session(Session::running("s", 5)).await.unwrap();
    let changed = first.change("s", Change::workers(By::Cli, 8)).await.unwrap();
    node.leave().await;
    first.close().await;

    let second = Board::file(options).await.unwrap();
    assert_eq!(*second.session("s").borrow(), Some(changed.clone()));
    assert_eq!(*second.nodes().borrow(), []);
    let again = second.change("s", Change::workers(By::Cli, 9)).await.unwrap();
    assert!(again.version > changed.version);
    second.close().await;
}

#[tokio::test]
async fn a_dead_node_disappears_when_its_lease_ends() {
    let folder = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(2);
    let options = FileOptions { lease, ..FileOptions::new(folder.path().join("board.db")) };
    a_dead_node_vanishes(move || Board::file(options.clone())).await;
}

#[tokio::test]
async fn a_file_that_is_no_board_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database, and longer than the header of one".repeat(9)).unwrap();
    let error = Board::file(FileOptions::new(&text)).await.unwrap_err();
    assert!(error.to_string().contains("file is not a database"), "{error}");

    let newer = folder.path().join("newer.db");
    Board::file(FileOptions::new(&newer)).await.unwrap().close().await;
    let mut bytes = std::fs::read(&newer).unwrap();
    // `user_version`, big-endian at offset 60 of the header.
    bytes[63] += 1;
    std::fs::write(&newer, bytes).unwrap();
    let error = Board::file(FileOptions::new(&newer)).await.unwrap_err();
    assert!(matches!(error, BoardError::NotABoard { .. }), "{error}");

    let error = Board::file(FileOptions::new(folder.path().join("no/such/folder"))).await.unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}
