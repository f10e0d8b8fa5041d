//! The waiting room of one model: requests held in order of arrival while a wake runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::fleet::request::Route;
use crate::gateway::upstream::slot::lock;

/// The room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    inside: Mutex<Inside>,
    /// Told when all that were called are on their way: the keeper calls the next.
    pub(crate) gone: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// As many have gone so far.
    gone: u64,
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    rows: Vec<Row>,
    kept: bool,
}

/// Those of one group that wait.
#[derive(Debug)]
struct Row {
    group: Group,
    waiting: usize,
    /// Those of them that were called and have not gone yet.
    called: u32,
    /// Whoever of them goes calls the next while fewer than so many are on their way; 0: the keeper calls.
    flows: u32,
}

#[derive(Debug)]
struct Waiter {
    /// Who it waits for: see [`Group`].
    group: Group,
    call: Option<oneshot::Sender<()>>,
}

/// What decides for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The seat that its header named.
    pub(crate) asked: Option<usize>,
    /// It may go to self-hosted backends only.
    pub(crate) self_only: bool,
    /// The rule of its model that it met, and the word for that.
    pub(crate) rule: Option<(usize, Route)>,
}

impl Group {
    /// Why it goes where it goes, if not by weight.
    pub(crate) fn route(&self) -> Option<Route> {
        let asked = self.asked.map(|_| Route::Header);
        asked.or(self.rule.map(|(_, route)| route))
    }
}

/// A place in a room; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Ticket {
    room: Arc<Room>,
    group: Group,
    sent: bool,
    /// Its place in the row.
    pub(crate) number: u64,
    /// Resolves when it is this request's turn to choose again.
    pub(crate) called: oneshot::Receiver<()>,
}

impl Ticket {
    /// Its request is on its way: the next may go.
    pub(crate) fn sent(mut self) {
        self.sent = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inside = lock(&self.room.inside);
        if inside.remove(self.number) {
            inside.tidy();
            return;
        }
        inside.gone += 1;
        let window = inside.row(self.group).map_or(0, |row| {
            row.called = row.called.saturating_sub(1);
            row.flows.saturating_sub(row.called)
        });
        // A call by the keeper would cross threads twice more.
        if self.sent {
            inside.call(self.group, window);
        }
        inside.tidy();
        if inside.called() == 0 {
            self.room.gone.notify_one();
        }
    }
}

impl Inside {
    fn row(&mut self, group: Group) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.group == group)
    }

    fn add(&mut self, number: u64, waiter: Waiter) {
        match self.row(waiter.group) {
            Some(row) => row.waiting += 1,
            None => self.rows.push(Row {
                group: waiter.group,
                waiting: 1,
                called: 0,
                flows: 0,
            }),
        }
        self.waiting.insert(number, waiter);
    }

    /// Whether it waited.
    fn remove(&mut self, number: u64) -> bool {
        let Some(waiter) = self.waiting.remove(&number) else {
            return false;
        };
        if let Some(row) = self.row(waiter.group) {
            row.waiting -= 1;
        }
        true
    }

    fn called(&self) -> u32 {
        self.rows.iter().map(|row| row.called).sum()
    }

    /// Forgets groups of which nobody is left.
    fn tidy(&mut self) {
        self.rows.retain(|row| row.waiting > 0 || row.called > 0);
    }

    /// Calls the first `most` of a group.
    fn call(&mut self, group: Group, most: u32) {
        let mut left = most;
        let mut called: Vec<u64> = Vec::new();
        for (number, waiter) in &mut self.waiting {
            if left == 0 {
                break;
            }
            if waiter.group == group
                && let Some(call) = waiter.call.take()
            {
                called.push(*number);
                // A request that left meanwhile needs no call, and takes no place.
                left -= u32::from(call.send(()).is_ok());
            }
        }
        for number in called {
            self.remove(number);
            if let Some(row) = self.row(group) {
                row.called += 1;
            }
        }
    }
}

impl Room {
    /// Takes the last place in the row, or the one that it had before; `None` when `places` are taken. The flag says
    /// that nobody keeps the room yet: whoever gets it must.
    pub(crate) fn enter(
        room: &Arc<Self>,
        group: Group,
        before: Option<u64>,
        places: u32,
    ) -> Option<(Ticket, bool)> {
        let mut inside = lock(&room.inside);
        // Who had a place keeps it.
        if before.is_none() && inside.waiting.len() >= places as usize {
            return None;
        }
        let number = before.unwrap_or(inside.next);
        inside.next = inside.next.max(number + 1);
        let (call, called) = oneshot::channel();
        let call = Some(call);
        inside.add(number, Waiter { group, call });
        let keep = !std::mem::replace(&mut inside.kept, true);
        drop(inside);
        let ticket = Ticket {
            room: Arc::clone(room),
            group,
            sent: false,
            number,
            called,
        };
        Some((ticket, keep))
    }

    /// How many have gone so far, and whether some were called and have not gone yet.
    pub(crate) fn gone_so_far(&self) -> (u64, bool) {
        let inside = lock(&self.inside);
        (inside.gone, inside.called() > 0)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        lock(&self.inside).waiting.len()
    }

    /// The groups of those that wait; none of them goes on by itself from here on.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut inside = lock(&self.inside);
        for row in &mut inside.rows {
            row.flows = 0;
        }
        let waiting = inside.rows.iter().filter(|row| row.waiting > 0);
        waiting.map(|row| row.group).collect()
    }

    /// Calls those of `group` that came first, in order of arrival: `n` of them, but no more than a `wave` before
    /// those have gone. Thousands that are called together do not go in order. Without `n`, each that goes calls the next.
    pub(crate) fn call(&self, group: Group, n: Option<u32>, wave: u32) {
        let mut inside = lock(&self.inside);
        let Some(row) = inside.row(group) else {
            return;
        };
        let most = wave.saturating_sub(row.called);
        let most = n.map_or(most, |n| n.saturating_sub(row.called).min(most));
        row.flows = if n.is_none() { wave } else { 0 };
        inside.call(group, most);
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

    use super::{Group, Room};

    const ANY: Group = Group {
        asked: None,
        self_only: false,
        rule: None,
    };

    #[tokio::test]
    async fn called_in_order_of_arrival_and_those_who_left_are_gone() {
        let room = Arc::new(Room::default());
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        let (left, _) = Room::enter(&room, ANY, None, 50).unwrap();
        for number in 0..20 {
            let (mut ticket, keep) = Room::enter(&room, ANY, None, 50).unwrap();
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
        room.call(ANY, None, 100);
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
            ..ANY
        };
        let (_a, keep) = Room::enter(&room, ANY, None, 50).unwrap();
        assert!(keep);
        let (mut b, _) = Room::enter(&room, one, None, 50).unwrap();
        assert_eq!(room.groups(), [ANY, one]);
        room.call(ANY, None, 100);
        assert_eq!(room.len(), 1);
        assert!(b.called.try_recv().is_err());
    }

    #[test]
    fn one_who_comes_back_has_the_old_place() {
        let room = Arc::new(Room::default());
        let (first, _) = Room::enter(&room, ANY, None, 50).unwrap();
        let number = first.number;
        drop(first);
        let (_second, _) = Room::enter(&room, ANY, None, 50).unwrap();
        let (again, _) = Room::enter(&room, ANY, Some(number), 1).unwrap();
        assert_eq!(again.number, number);
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn a_full_room_takes_nobody() {
        let room = Arc::new(Room::default());
        let all: Vec<_> = (0..50)
            .map(|_| Room::enter(&room, ANY, None, 50).unwrap())
            .collect();
        assert!(Room::enter(&room, ANY, None, 50).is_none());
        drop(all);
        assert!(Room::enter(&room, ANY, None, 50).is_some());
    }

    #[test]
    fn whoever_goes_calls_the_next_of_its_own_group() {
        let other = Group {
            self_only: true,
            ..ANY
        };
        let room = Arc::new(Room::default());
        let mut waiting: Vec<_> = [ANY, other, ANY, other, ANY]
            .map(|group| Some(Room::enter(&room, group, None, 50).unwrap().0))
            .into();
        assert_eq!(room.groups(), [ANY, other]);
        room.call(ANY, None, 1);
        room.call(other, None, 1);
        let mut called = |at: usize| {
            waiting[at]
                .as_mut()
                .is_some_and(|ticket| ticket.called.try_recv().is_ok())
        };
        assert_eq!(
            [0, 1, 2, 3, 4].map(&mut called),
            [true, true, false, false, false]
        );
        waiting[0].take().unwrap().sent();
        let mut called = |at: usize| {
            waiting[at]
                .as_mut()
                .is_some_and(|ticket| ticket.called.try_recv().is_ok())
        };
        assert_eq!([2, 3, 4].map(&mut called), [true, false, false]);
        // One that was called and did not go calls nobody; the keeper does.
        drop(waiting[2].take());
        assert!(waiting[4].as_mut().unwrap().called.try_recv().is_err());
        assert_eq!(room.gone_so_far(), (2, true));
        drop(waiting[1].take());
        assert_eq!(room.gone_so_far(), (3, false));
        assert_eq!(room.len(), 2);
    }

    #[test]
    fn as_many_are_called_as_there_is_room_for() {
        let room = Arc::new(Room::default());
        let mut waiting: Vec<_> = (0..5)
            .map(|_| Room::enter(&room, ANY, None, 50).unwrap().0)
            .collect();
        waiting[0].called.close();
        room.call(ANY, Some(2), 100);
        assert!(waiting[1].called.try_recv().is_ok() && waiting[2].called.try_recv().is_ok());
        assert!(waiting[3].called.try_recv().is_err());
        assert_eq!(room.len(), 2);
    }
}
