//! Keys and values in this process's memory.
//!
//! A lease ends only when it is revoked, because only this process could fail to renew it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Answer, KeyEvent, Kv, Lease, LeaseId, Make, Pair, Watcher, Write};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Locked while writing and delivering, so that all watchers receive writes in order.
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    pairs: BTreeMap<String, Pair>,
    /// The version of the last write.
    version: u64,
    last_lease: LeaseId,
    watchers: Vec<(&'static str, Arc<dyn Watcher>)>,
}

impl Memory {
    /// [`Kv::watch`], without waiting.
    pub(crate) fn follow(&self, prefix: &'static str, watcher: Arc<dyn Watcher>) {
        let mut content = self.lock();
        watcher.show_all(&content.list(prefix), None);
        content.watchers.push((prefix, watcher));
    }

    fn write(&self, writes: Vec<Write>) -> Option<u64> {
        let mut content = self.lock();
        let version = |key: &String| content.pairs.get(key).map_or(0, |pair| pair.version);
        if writes.iter().any(|write| write.after.is_some_and(|after| version(&write.key) != after)) {
            return None;
        }
        content.version += 1;
        let version = content.version;
        let mut events = Vec::new();
        for Write { key, make, lease, .. } in writes {
            match make {
                Make::Value(value) => {
                    let pair = Pair { key: key.clone(), value, version, lease };
                    content.pairs.insert(key, pair.clone());
                    events.push(KeyEvent::Put(pair));
                }
                Make::Nothing if content.pairs.remove(&key).is_some() => {
                    events.push(KeyEvent::Deleted { key, version });
                }
                Make::Nothing | Make::Same => {}
            }
        }
        content.show(&events);
        Some(version)
    }

    fn end(&self, lease: LeaseId) {
        let mut content = self.lock();
        let bound = content.pairs.values().filter(|pair| pair.lease == Some(lease));
        let bound: Vec<String> = bound.map(|pair| pair.key.clone()).collect();
        if bound.is_empty() {
            return;
        }
        content.version += 1;
        let version = content.version;
        content.pairs.retain(|key, _| !bound.contains(key));
        let events: Vec<_> = bound.into_iter().map(|key| KeyEvent::Deleted { key, version }).collect();
        content.show(&events);
    }

    fn grant(&self) -> Lease {
        let mut content = self.lock();
        content.last_lease += 1;
        Lease { id: content.last_lease, length: None }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn list(&self, prefix: &str) -> Vec<Pair> {
        let from = self.pairs.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, pair)| pair.clone()).collect()
    }

    fn show(&self, events: &[KeyEvent]) {
        for (prefix, watcher) in &self.watchers {
            let watched: Vec<_> =
                events.iter().filter(|event| event.key().starts_with(prefix)).cloned().collect();
            if !watched.is_empty() {
                watcher.show(&watched);
            }
        }
    }
}

impl Kv for Memory {
    fn list<'a>(&'a self, prefix: &'a str, _: &'static str) -> Answer<'a, Vec<Pair>> {
        Box::pin(async move { Ok(self.lock().list(prefix)) })
    }

    fn get<'a>(&'a self, key: &'a str, _: &'static str) -> Answer<'a, Option<Pair>> {
        Box::pin(async move { Ok(self.lock().pairs.get(key).cloned()) })
    }

    fn write_if(&self, writes: Vec<Write>, _: &'static str) -> Answer<'_, Option<u64>> {
        Box::pin(async move { Ok(self.write(writes)) })
    }

    fn lease(&self, _: &'static str) -> Answer<'_, Lease> {
        Box::pin(async move { Ok(self.grant()) })
    }

    fn renew(&self, _: LeaseId) -> Answer<'_, bool> {
        Box::pin(async move { Ok(true) })
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.end(lease);
            Ok(())
        })
    }

    fn watch<'a>(&'a self, prefix: &'static str, watcher: Arc<dyn Watcher>) -> Answer<'a, ()> {
        Box::pin(async move {
            self.follow(prefix, watcher);
            Ok(())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        // Without writes a watch does nothing.
        Box::pin(async { Ok(()) })
    }
}
