//! [`Sim`]: a single-threaded executor with virtual time and a seeded order of tasks.
//!
//! Among the tasks that could run, a seeded draw picks the next; each poll costs [`POLL_COST`] of virtual time, so that
//! even a loop that only yields lets time pass; when nothing can run, time jumps to the next timer. Tasks belong to a
//! node, which can be [killed](Sim::kill) (all its futures are dropped where they stand, as a crash does) or
//! [frozen](Sim::freeze) (as a long pause does). The free functions here ([`spawn`], [`sleep`], [`now`], ...) act on the
//! executor that runs the calling task.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::clock::Tick;
use crate::rng::SeededRng;

/// Virtual time one poll of a task takes.
pub const POLL_COST: Duration = Duration::from_nanos(200);

/// A simulated machine. Tasks that belong to none (the network, the test itself) are on [`NodeId::WORLD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// What surrounds the nodes; it never crashes.
    pub const WORLD: NodeId = NodeId(u32::MAX);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::WORLD {
            f.write_str("world")
        } else {
            write!(f, "node {}", self.0)
        }
    }
}

/// Why [`Sim::run_until`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The condition held.
    Met,
    /// Virtual time reached the deadline first.
    Deadline,
    /// No task can ever run again: all wait for each other.
    Stalled,
}

pub use join::{Aborted, JoinHandle};
pub use timer::{Elapsed, Sleep, Timeout, sleep, sleep_until, timeout, timeout_at};

mod join;
mod timer;

type TaskId = u64;
type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

struct TaskWaker {
    id: TaskId,
    /// True while the task is in the ready list: it is listed once however often it is woken.
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready
                .lock()
                .expect("nothing panics while it holds this lock")
                .push(self.id);
        }
    }
}

struct Task {
    node: NodeId,
    /// `None` while the task is being polled.
    future: Option<TaskFuture>,
    waker: Arc<TaskWaker>,
}

struct State {
    rng: SeededRng,
    streams: SeededRng,
    tasks: BTreeMap<TaskId, Task>,
    next_id: u64,
    timers: BTreeMap<(Tick, u64), Waker>,
    /// Ready tasks of frozen nodes.
    frozen: BTreeMap<NodeId, Vec<TaskId>>,
    node: NodeId,
    trace: u64,
}

struct Core {
    time: Rc<Cell<Tick>>,
    ready: Arc<Mutex<Vec<TaskId>>>,
    state: RefCell<State>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Makes `core` the thread's executor until dropped.
struct Entered(Option<Rc<Core>>);

impl Entered {
    fn new(core: &Rc<Core>) -> Self {
        Self(CURRENT.replace(Some(Rc::clone(core))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

fn current() -> Rc<Core> {
    CURRENT
        .with_borrow(|core| core.clone())
        .expect("called from a task of a simulation, or inside Sim::enter")
}

/// A simulated world. Dropping it drops all its tasks.
pub struct Sim {
    core: Rc<Core>,
}

impl Sim {
    /// An empty world at time zero whose every choice follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let streams = SeededRng::new(seed);
        let state = State {
            rng: streams.derive("task order"),
            streams,
            tasks: BTreeMap::new(),
            next_id: 0,
            timers: BTreeMap::new(),
            frozen: BTreeMap::new(),
            node: NodeId::WORLD,
            trace: 0,
        };
        let core = Core {
            time: Rc::default(),
            ready: Arc::default(),
            state: RefCell::new(state),
        };
        Self { core: Rc::new(core) }
    }

    /// Runs `body` with this world as the current one, so that it may call [`spawn`] and the like.
    pub fn enter<T>(&self, body: impl FnOnce() -> T) -> T {
        let _entered = Entered::new(&self.core);
        body()
    }

    /// As [`Sim::enter`]; tasks that `body` starts run on `node`, and end with it.
    pub fn enter_on<T>(&self, node: NodeId, body: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.core.state.borrow_mut().node, node);
        let value = self.enter(body);
        self.core.state.borrow_mut().node = before;
        value
    }

    /// Starts a task on `node`.
    pub fn spawn_on<T: 'static>(&self, node: NodeId, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.core.spawn(node, future)
    }

    /// Virtual time.
    pub fn now(&self) -> Tick {
        self.core.time.get()
    }

    /// Virtual time as it goes on, for clocks and devices that live outside tasks.
    pub fn time(&self) -> Rc<Cell<Tick>> {
        Rc::clone(&self.core.time)
    }

    /// The world's random stream called `label`.
    pub fn rng(&self, label: &str) -> SeededRng {
        self.core.state.borrow().streams.derive(label)
    }

    /// Runs until `done` is true (asked before each poll), `deadline` is reached, or nothing can happen any more.
    pub fn run_until(&self, deadline: Tick, mut done: impl FnMut() -> bool) -> RunEnd {
        let _entered = Entered::new(&self.core);
        loop {
            if done() {
                return RunEnd::Met;
            }
            if self.core.time.get() >= deadline {
                return RunEnd::Deadline;
            }
            self.core.fire_timers();
            if self.core.poll_one() {
                continue;
            }
            match self.core.next_timer() {
                Some(at) => self.core.time.set(at.min(deadline)),
                None => return RunEnd::Stalled,
            }
        }
    }

    /// Runs for `duration` of virtual time; less when nothing can happen any more.
    pub fn run_for(&self, duration: Duration) -> RunEnd {
        self.run_until(self.now() + duration, || false)
    }

    /// Runs `future` on [`NodeId::WORLD`] to its end; `None` when it did not end within `limit` of virtual time.
    pub fn block_on<T: 'static>(&self, limit: Duration, future: impl Future<Output = T> + 'static) -> Option<T> {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        let task = self.spawn_on(NodeId::WORLD, async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        });
        self.run_until(self.now() + limit, || result.borrow().is_some());
        task.abort();
        result.borrow_mut().take()
    }

    /// Crashes a node: drops all its tasks at once. New tasks may then be started on it.
    pub fn kill(&self, node: NodeId) {
        let _entered = Entered::new(&self.core);
        kill(node);
    }

    /// Stops polling the node's tasks, as a suspended virtual machine or SIGSTOP does.
    pub fn freeze(&self, node: NodeId) {
        self.core.state.borrow_mut().frozen.entry(node).or_default();
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, node: NodeId) {
        let waiting = self.core.state.borrow_mut().frozen.remove(&node).unwrap_or_default();
        self.core
            .ready
            .lock()
            .expect("nothing panics while it holds this lock")
            .extend(waiting);
    }

    /// A number that depends on every choice made so far: equal for two runs that did the same.
    pub fn trace_digest(&self) -> u64 {
        self.core.state.borrow().trace
    }

    /// Tasks that have not ended.
    pub fn task_count(&self) -> usize {
        self.core.state.borrow().tasks.len()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _entered = Entered::new(&self.core);
        // A future's destructor may start tasks, which end here too.
        loop {
            let tasks = std::mem::take(&mut self.core.state.borrow_mut().tasks);
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
    }
}

impl Core {
    fn spawn<T: 'static>(self: &Rc<Self>, node: NodeId, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let (ending, join) = join::pair();
        let future = Box::pin(async move {
            let value = future.await;
            ending.end(Ok(value));
        });
        let mut state = self.state.borrow_mut();
        let id = state.next_id;
        state.next_id += 1;
        let waker = Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        });
        waker.wake_by_ref();
        state.tasks.insert(
            id,
            Task {
                node,
                future: Some(future),
                waker,
            },
        );
        JoinHandle::new(id, Rc::downgrade(self), join)
    }

    /// Polls one ready task; false when there is none.
    fn poll_one(&self) -> bool {
        let Some((id, mut future, waker)) = self.take_ready() else {
            return false;
        };
        self.time.set(self.time.get() + POLL_COST);
        let polled = future.as_mut().poll(&mut Context::from_waker(&Waker::from(waker)));
        let mut state = self.state.borrow_mut();
        state.node = NodeId::WORLD;
        match polled {
            Poll::Ready(()) => {
                state.tasks.remove(&id);
            }
            // It is not there any more when its node was killed, or it aborted, during this very poll.
            Poll::Pending => {
                if let Some(task) = state.tasks.get_mut(&id) {
                    task.future = Some(future);
                    return true;
                }
            }
        }
        drop(state);
        // Outside of every borrow: destructors may use the executor.
        drop(future);
        true
    }

    /// Takes the next task by seeded draw, passing over ended tasks and frozen nodes.
    fn take_ready(&self) -> Option<(TaskId, TaskFuture, Arc<TaskWaker>)> {
        let mut ready = self.ready.lock().expect("nothing panics while it holds this lock");
        let state = &mut *self.state.borrow_mut();
        while !ready.is_empty() {
            let drawn = state.rng.index(ready.len());
            let id = ready.swap_remove(drawn);
            let Some(task) = state.tasks.get_mut(&id) else { continue };
            if let Some(waiting) = state.frozen.get_mut(&task.node) {
                waiting.push(id);
                continue;
            }
            task.waker.queued.store(false, Ordering::Relaxed);
            let Some(future) = task.future.take() else { continue };
            state.node = task.node;
            let step = id ^ self.time.get().0.rotate_left(20);
            state.trace = (state.trace ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            return Some((id, future, Arc::clone(&task.waker)));
        }
        None
    }

    fn fire_timers(&self) {
        let now = self.time.get();
        let mut state = self.state.borrow_mut();
        while let Some(timer) = state.timers.first_entry()
            && timer.key().0 <= now
        {
            timer.remove().wake();
        }
    }

    fn next_timer(&self) -> Option<Tick> {
        self.state.borrow().timers.first_key_value().map(|((at, _), _)| *at)
    }
}

/// Starts a task on the calling task's node.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let core = current();
    let node = core.state.borrow().node;
    core.spawn(node, future)
}

/// Starts a task on `node`.
pub fn spawn_on<T: 'static>(node: NodeId, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    current().spawn(node, future)
}

/// As [`Sim::kill`]; a task may kill its own node, and is then dropped at its next await.
pub fn kill(node: NodeId) {
    let core = current();
    let killed = {
        let mut state = core.state.borrow_mut();
        state.frozen.remove(&node);
        let (killed, alive) = std::mem::take(&mut state.tasks)
            .into_iter()
            .partition(|(_, task)| task.node == node);
        state.tasks = alive;
        killed
    };
    drop::<BTreeMap<_, _>>(killed);
}

/// The node of the calling task.
pub fn node() -> NodeId {
    current().state.borrow().node
}

/// Virtual time.
pub fn now() -> Tick {
    current().time.get()
}

/// The world's random stream called `label`.
pub fn rng(label: &str) -> SeededRng {
    current().state.borrow().streams.derive(label)
}

/// Lets others run first.
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests;
