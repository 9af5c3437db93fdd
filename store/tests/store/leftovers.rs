//! What runs left, as `wec clean` reads and ends it, on both backends.

use wec_record::Object;
use wec_store::{Catalogue, Counts, Left};

use crate::common::{Database, authorize, issue, over_both_backends, register, renew};

over_both_backends!(everything_that_is_left_is_read_once_and_ends_once, an_account_ends_with_its_objects);

const NOW: i64 = 1_800_000_000;

async fn everything_that_is_left_is_read_once_and_ends_once(database: &Database) {
    let state = database.open().await;
    let account = register(&state).await;
    for _ in 0..3 {
        authorize(&state, &account).await;
    }
    for _ in 0..2 {
        issue(&state, state.claim_order().unwrap()).await;
    }
    // One certificate replaces another, one order is ready, one is void.
    renew(&state, state.claim_certificate().unwrap()).await;
    authorize(&state, &account).await;
    state.order_failed(state.claim_order().unwrap(), "the CA says so").await;
    state.flush().await.unwrap();
    let before = state.counts();
    state.close().await.unwrap();
    assert_eq!((before.certificates, before.authorizations), (2, 1));

    let catalogue = Catalogue::open(&database.url).await.unwrap();
    let stored = catalogue.list().await.unwrap().remove(0);
    let left = Left { certificates: 3, orders: 4, accounts: 1 };
    assert_eq!(catalogue.left(&stored, NOW).await.unwrap(), left);
    // Expired ones need no revocation.
    assert_eq!(catalogue.left(&stored, i64::MAX).await.unwrap(), Left { certificates: 0, ..left });
    let certificates = catalogue.certificates_left(&stored, NOW, i64::MIN).await.unwrap();
    let orders = catalogue.orders_left(&stored, i64::MIN).await.unwrap();
    assert_eq!((certificates.len(), orders.len()), (3, 4));
    assert!(certificates.is_sorted_by_key(|it| it.id) && orders.is_sorted_by_key(|it| it.id));
    let rest = catalogue.orders_left(&stored, orders[1].id).await.unwrap();
    assert_eq!(rest.iter().map(|it| &it.url).collect::<Vec<_>>(), [&orders[2].url, &orders[3].url]);
    for it in &certificates {
        assert_eq!((&*it.leaf_der, it.key_pkcs8.len(), it.account.id), (&b"leaf"[..], 138, account.id));
        assert_eq!(it.account.account.as_ref().unwrap().url, account.account.url);
        for _ in 0..2 {
            catalogue.end_revoked(&stored, it.id).await.unwrap();
        }
    }
    for it in &orders {
        for _ in 0..2 {
            catalogue.end_order(&stored, it.id, "it was closed").await.unwrap();
        }
    }
    assert_eq!(catalogue.left(&stored, NOW).await.unwrap(), Left { accounts: 1, ..Left::default() });
    catalogue.close().await;
    let state = database.open().await;
    let counts = Counts { registrations: 1, authorizations: 0, certificates: 0, revoked: 3 };
    assert_eq!(state.counts(), counts);
    assert!(state.claim_order().is_none() && state.claim_certificate().is_none());
    state.close().await.unwrap();
}

async fn an_account_ends_with_its_objects(database: &Database) {
    let state = database.open().await;
    register(&state).await;
    register(&state).await;
    let accounts = state.newest_registrations(2);
    let [account, other] = &accounts[..] else { panic!("two were made") };
    authorize(&state, account).await;
    issue(&state, state.claim_order().unwrap()).await;
    authorize(&state, account).await;
    authorize(&state, other).await;
    // An exclusive one is left, too.
    let reservation = state.reserve(Object::Registration).unwrap();
    state.add_exclusive_registration(reservation, &crate::common::account(), &[]).await;
    let id = account.id;
    state.close().await.unwrap();

    let catalogue = Catalogue::open(&database.url).await.unwrap();
    let stored = catalogue.list().await.unwrap().remove(0);
    let accounts = catalogue.accounts_left(&stored, i64::MIN).await.unwrap();
    assert_eq!(accounts.len(), 3);
    for _ in 0..2 {
        catalogue.end_account(&stored, id, "it was deactivated").await.unwrap();
    }
    let left = catalogue.left(&stored, NOW).await.unwrap();
    assert_eq!(left, Left { certificates: 0, orders: 1, accounts: 2 });
    catalogue.close().await;
    let state = database.open().await;
    let counts = Counts { registrations: 2, authorizations: 1, certificates: 0, revoked: 0 };
    assert_eq!(state.counts(), counts);
    state.close().await.unwrap();
}
