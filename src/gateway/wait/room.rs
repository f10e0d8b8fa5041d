//! The waiting room of one model: requests held in order of arrival while a wake runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::gateway::upstream::slot::lock;

/// Requests that one room holds at most.
pub(crate) const PLACES: usize = 10_000;

/// The room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    kept: bool,
}

#[derive(Debug)]
struct Waiter {
    /// Who it waits for: see [`Group`].
    group: Group,
    call: Option<oneshot::Sender<()>>,
}

/// What decides for a request: the seat that its header named, and whether it may go to self-hosted backends only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) asked: Option<usize>,
    pub(crate) self_only: bool,
}

/// A place in a room; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Ticket {
    room: Arc<Room>,
    /// Its place in the row.
    pub(crate) number: u64,
    /// Resolves when it is this request's turn to choose again.
    pub(crate) called: oneshot::Receiver<()>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.room.inside).waiting.remove(&self.number);
    }
}

impl Room {
    /// Takes the last place in the row, or the one that it had before; `None` when the room is full. The flag says
    /// that nobody keeps the room yet: whoever gets it must.
    pub(crate) fn enter(
        room: &Arc<Self>,
        group: Group,
        before: Option<u64>,
    ) -> Option<(Ticket, bool)> {
        let mut inside = lock(&room.inside);
        if inside.waiting.len() >= PLACES {
            return None;
        }
        let number = before.unwrap_or(inside.next);
        inside.next = inside.next.max(number + 1);
        let (call, called) = oneshot::channel();
        let call = Some(call);
        inside.waiting.insert(number, Waiter { group, call });
        let keep = !std::mem::replace(&mut inside.kept, true);
        drop(inside);
        let ticket = Ticket {
            room: Arc::clone(room),
            number,
            called,
        };
        Some((ticket, keep))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        lock(&self.inside).waiting.len()
    }

    /// The groups of those that wait.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = lock(&self.inside)
            .waiting
            .values()
            .map(|waiter| waiter.group)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Calls everybody of `group`, in order of arrival.
    pub(crate) fn call(&self, group: Group) {
        let mut inside = lock(&self.inside);
        inside.waiting.retain(|_, waiter| {
            let called = waiter.group == group;
            if called && let Some(call) = waiter.call.take() {
                // A request that left meanwhile needs no call.
                let _ = call.send(());
            }
            !called
        });
    }

    /// The keeper asks whether it may go: true when the room is empty, and the next to enter starts a new one.
    pub(crate) fn close(&self) -> bool {
        let mut inside = lock(&self.inside);
        inside.kept = !inside.waiting.is_empty();
        !inside.kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Group, PLACES, Room};

    const ANY: Group = Group {
        asked: None,
        self_only: false,
    };

    #[tokio::test]
    async fn called_in_order_of_arrival_and_those_who_left_are_gone() {
        let room = Arc::new(Room::default());
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let (left, _) = Room::enter(&room, ANY, None).unwrap();
        for number in 0..20 {
            let (mut ticket, keep) = Room::enter(&room, ANY, None).unwrap();
            assert!(!keep, "the first one keeps the room");
            let order = Arc::clone(&order);
            tasks.push(tokio::spawn(async move {
                (&mut ticket.called).await.unwrap();
                order.lock().unwrap().push(number);
            }));
        }
        assert_eq!(room.len(), 21);
        drop(left);
        assert_eq!(room.len(), 20);
        assert!(!room.close());
        room.call(ANY);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
        assert!(room.close());
    }

    #[test]
    fn groups_are_called_apart() {
        let room = Arc::new(Room::default());
        let one = Group {
            asked: Some(1),
            self_only: false,
        };
        let (_a, keep) = Room::enter(&room, ANY, None).unwrap();
        assert!(keep);
        let (mut b, _) = Room::enter(&room, one, None).unwrap();
        assert_eq!(room.groups(), [ANY, one]);
        room.call(ANY);
        assert_eq!(room.len(), 1);
        assert!(b.called.try_recv().is_err());
    }

    #[test]
    fn one_who_comes_back_has_the_old_place() {
        let room = Arc::new(Room::default());
        let (first, _) = Room::enter(&room, ANY, None).unwrap();
        let number = first.number;
        drop(first);
        let (_second, _) = Room::enter(&room, ANY, None).unwrap();
        let (again, _) = Room::enter(&room, ANY, Some(number)).unwrap();
        assert_eq!(again.number, number);
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn a_full_room_takes_nobody() {
        let room = Arc::new(Room::default());
        let all: Vec<_> = (0..PLACES)
            .map(|_| Room::enter(&room, ANY, None).unwrap())
            .collect();
        assert!(Room::enter(&room, ANY, None).is_none());
        drop(all);
        assert!(Room::enter(&room, ANY, None).is_some());
    }
}
