//! The admin HTTP endpoint: `/metrics`, `/health`, `/ready`, and for `slotcore ctl` `/cluster`, `/nodes`, `/groups`,
//! `/metadata`, on the loopback address, read-only: what changes something is a command, behind passwords and rights.
//!
//! Requests are answered on a thread of `rt` ([`slotcore_rt::admin_socket`]); this is what they are answered with. A core
//! is asked for a snapshot and has a moment to give one; a core that is stuck is described by its last one, and `/health`
//! then says so.

pub mod cluster_pages;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slotcore_rt::admin_socket::{self, AdminSocket};
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::process;

use crate::cluster_map::ClusterMap;
use crate::leadership::ClusterView;
use crate::metrics::exposition::{self, ProcessFacts};
use crate::metrics::{CoreSnapshot, SnapshotSlot};
use crate::startup::StartupError;
use cluster_pages::Seen;

/// How long a core has to answer. Its turns last microseconds; a quarter of a second means that it is stuck.
const CORE_PATIENCE: Duration = Duration::from_millis(250);

/// How the endpoint reaches one core.
pub struct CoreHandle {
    /// Where the core leaves its snapshots.
    pub slot: Arc<SnapshotSlot>,
    /// Gets a sleeping core to look at its slot.
    pub wake: Box<dyn Fn() + Send>,
}

/// What the endpoint knows.
pub struct Admin {
    /// First word of every metric's name.
    pub metrics_prefix: String,
    /// The configured limit of memory in bytes; 0 = none.
    pub memory_bytes_max: u64,
    /// When the server was ready.
    pub started_at: Tick,
    /// Every core.
    pub cores: Vec<CoreHandle>,
    /// True from the moment clients are served until the server begins to stop.
    pub ready: Arc<AtomicBool>,
    /// Which core has which slots.
    pub map: Arc<ClusterMap>,
    /// The nodes; `None`: there are no others.
    pub view: Option<ClusterView>,
}

/// Answers on 127.0.0.1 at `port` until the returned socket is stopped.
///
/// # Errors
/// When the port cannot be listened on.
pub fn serve(port: u16, admin: Admin) -> Result<AdminSocket, StartupError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    admin_socket::serve(port, move |head| admin.answer(head))
        .map_err(|error| StartupError::from_listen("admin-port", address, error))
}

impl Admin {
    /// Answers one request, given its head, with a whole HTTP response.
    pub fn answer(&self, head: &[u8]) -> Vec<u8> {
        let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|&byte| byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        if method != b"GET" && method != b"HEAD" {
            return response(
                "405 Method Not Allowed",
                "text/plain",
                "Only GET is understood.\n",
                method,
            );
        }
        match path {
            b"/metrics" => response(
                "200 OK",
                "text/plain; version=0.0.4; charset=utf-8",
                &self.metrics(),
                method,
            ),
            b"/cluster" => json(&self.seen().status(), method),
            b"/nodes" => json(&self.seen().nodes(), method),
            b"/groups" => json(&self.seen().groups(), method),
            b"/metadata" => json(&cluster_pages::MetadataPage::of(self.view.as_ref()), method),
            b"/health" => match self.stuck_core() {
                None => response("200 OK", "text/plain", "ok\n", method),
                Some(core) => response(
                    "503 Service Unavailable",
                    "text/plain",
                    &format!("core {core} does not answer\n"),
                    method,
                ),
            },
            b"/ready" if self.ready.load(Ordering::Acquire) => response("200 OK", "text/plain", "ready\n", method),
            b"/ready" => response(
                "503 Service Unavailable",
                "text/plain",
                "starting or stopping\n",
                method,
            ),
            _ => response(
                "404 Not Found",
                "text/plain",
                "There are /metrics, /health, /ready, /cluster, /nodes, /groups and /metadata.\n",
                method,
            ),
        }
    }

    fn metrics(&self) -> String {
        let cores: Vec<Arc<CoreSnapshot>> = self
            .cores
            .iter()
            .filter_map(|core| core.slot.request(&*core.wake, CORE_PATIENCE).into_snapshot())
            .collect();
        let process = ProcessFacts {
            used: process::process_use(),
            uptime: SystemClock.tick().since(self.started_at),
            memory_bytes_max: self.memory_bytes_max,
        };
        exposition::page(&self.metrics_prefix, &cores, &process)
    }

    /// The cluster as it is now.
    fn seen(&self) -> Seen<'_> {
        let cores = self
            .cores
            .iter()
            .map(|core| core.slot.request(&*core.wake, CORE_PATIENCE));
        let groups = cores.map(|requested| {
            let fresh = requested.is_fresh();
            let facts = requested.into_snapshot().and_then(|snapshot| snapshot.group.clone());
            (facts, fresh)
        });
        let mut view = self.view.clone();
        view.as_mut().map(ClusterView::renew);
        Seen {
            map: &self.map,
            view,
            groups: groups.collect(),
            ready: self.ready.load(Ordering::Acquire),
            uptime: SystemClock.tick().since(self.started_at),
        }
    }

    fn stuck_core(&self) -> Option<usize> {
        self.cores
            .iter()
            .position(|core| !core.slot.request(&*core.wake, CORE_PATIENCE).is_fresh())
    }
}

fn json(page: &impl serde::Serialize, method: &[u8]) -> Vec<u8> {
    let mut body = serde_json::to_string(page).expect("texts, numbers and lists are JSON");
    body.push('\n');
    response("200 OK", "application/json", &body, method)
}

fn response(status: &str, content_type: &str, body: &str, method: &[u8]) -> Vec<u8> {
    let length = body.len();
    let body = if method == b"HEAD" { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ConnFacts, CoreFacts, CoreMetrics, DataFacts};
    use slotcore_engine::database::Counts;

    /// An endpoint over one core, which answers at once when `alive`.
    fn admin(alive: bool) -> Admin {
        let slot = Arc::new(SnapshotSlot::default());
        let core = Arc::clone(&slot);
        let wake = move || {
            let core = Arc::clone(&core);
            if alive {
                slotcore_rt::thread::spawn("core", None, move || core.publish(snapshot())).unwrap();
            }
        };
        Admin {
            metrics_prefix: "slotcore".into(),
            memory_bytes_max: 0,
            started_at: Tick::ZERO,
            cores: vec![CoreHandle {
                slot,
                wake: Box::new(wake),
            }],
            ready: Arc::new(AtomicBool::new(false)),
            map: Arc::new(ClusterMap::single("127.0.0.1", 6379, 6380)),
            view: None,
        }
    }

    fn snapshot() -> CoreSnapshot {
        let mut metrics = CoreMetrics::default();
        metrics.commands.ran(1, "get", 1_000, 2);
        metrics.operation(slotcore_engine::cmd::Group::String, 30_000, 2);
        CoreSnapshot {
            core: slotcore_rt::ids::CoreId(0),
            metrics,
            facts: CoreFacts {
                raft_term: 3,
                disk_bytes: 4096,
                ..CoreFacts::default()
            },
            data: DataFacts {
                keys: Counts::new(std::array::from_fn(|database| if database == 0 { 5 } else { 0 })),
                ..DataFacts::default()
            },
            conns: ConnFacts::default(),
            group: None,
        }
    }

    fn get(admin: &Admin, path: &str) -> String {
        String::from_utf8(admin.answer(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())).unwrap()
    }

    #[test]
    fn the_page_is_well_formed_and_has_the_promised_names() {
        let text = get(&admin(true), "/metrics?x=1");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        for line in [
            "slotcore_operations_total{core=\"0\",family=\"string\"} 2",
            "slotcore_operation_duration_seconds_count{core=\"0\",family=\"string\"} 2",
            "slotcore_raft_term{core=\"0\"} 3",
            "slotcore_raft_commit_index{core=\"0\"} 0",
            "slotcore_storage_disk_usage_bytes{core=\"0\"} 4096",
            "slotcore_commands_total{core=\"0\",command=\"get\"} 2",
            "slotcore_keys{core=\"0\"} 5",
        ] {
            assert!(body.lines().any(|found| found == line), "{line} is missing in\n{body}");
        }
        check_exposition(body);
    }

    #[test]
    fn the_operating_page_names_metrics_that_exist() {
        let body = get(&admin(true), "/metrics");
        let page = include_str!("../../docs/operating.md");
        let table = page.split("| metric |").nth(1).unwrap().split("\n\n").next().unwrap();
        let names: Vec<&str> = table
            .lines()
            .filter_map(|row| row.strip_prefix("| `"))
            .flat_map(|row| row.split('|').next().unwrap().split(", "))
            .map(|name| name.trim().trim_matches('`').split('{').next().unwrap())
            .collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(body.contains(&format!("# TYPE slotcore_{name} ")), "{name}");
        }
    }

    /// The rules of the text format that a hand-made page could break.
    fn check_exposition(body: &str) {
        let mut announced = std::collections::BTreeSet::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut current = String::new();
        let mut histogram = false;
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(announced.insert(name.to_string()), "{name} is announced twice");
                (current, histogram) = (name.to_string(), kind == "histogram");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(seen.insert(series.to_string()), "{series} appears twice");
                let name = series.split('{').next().unwrap();
                let suffix = name
                    .strip_prefix(current.as_str())
                    .expect("a sample stands below its own type");
                let allowed: &[&str] = if histogram {
                    &["_bucket", "_sum", "_count"]
                } else {
                    &[""]
                };
                assert!(allowed.contains(&suffix), "{line}");
            }
        }
    }

    #[test]
    fn ready_and_health_tell_the_truth() {
        let alive = admin(true);
        assert!(get(&alive, "/ready").starts_with("HTTP/1.1 503"));
        alive.ready.store(true, Ordering::Release);
        assert!(get(&alive, "/ready").starts_with("HTTP/1.1 200"));
        assert!(get(&alive, "/health").ends_with("\r\n\r\nok\n"));
        assert!(get(&admin(false), "/health").contains("core 0 does not answer"));
    }

    #[test]
    fn a_taken_port_is_a_startup_error() {
        let first = serve(0, admin(true)).unwrap();
        let error = serve(first.address().port(), admin(true)).unwrap_err().to_string();
        assert!(error.contains("is taken") && error.contains("--admin-port"), "{error}");
        first.stop();
    }

    #[test]
    fn other_requests_are_refused_politely() {
        let admin = admin(true);
        assert!(get(&admin, "/").starts_with("HTTP/1.1 404"));
        assert!(
            admin
                .answer(b"POST /metrics HTTP/1.1\r\n\r\n")
                .starts_with(b"HTTP/1.1 405")
        );
        assert!(admin.answer(b"\x00\xff\r\n\r\n").starts_with(b"HTTP/1.1 405"));
        assert!(admin.answer(b"HEAD /ready HTTP/1.1\r\n\r\n").ends_with(b"\r\n\r\n"));
    }
}
