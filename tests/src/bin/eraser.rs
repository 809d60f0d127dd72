//! Erases what a device said, by a clock that a test sets: `eraser DIR DEVICE MS`. Prints the tombstones' indexes.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use collector::erase::{Request, plan, run};
use collector::node::Node;
use evidence::time::{Clock, Timestamp};

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, device, ms] = arguments.as_slice() else { bail!("eraser DIR DEVICE MS") };
    let clock = Arc::new(Fixed(Timestamp(ms.parse()?)));
    let node = Node::open_at(Path::new(dir), clock, |_| {})?;
    let finished = node.state.finish_erasures().await?;
    let rule = Some("request".parse().context("a rule")?);
    let request = Request { device: Some(device.parse()?), before: None, rule, requested_by: None };
    let planned = plan(&node.state, 730, &request)?;
    let mut tombstones = Vec::new();
    if !planned.scopes.is_empty() {
        tombstones = run(&node.state, &planned).await?.tombstones;
    }
    let report = serde_json::json!({
        "finished": finished, "tombstones": tombstones, "kept": planned.kept.len(), "plain": planned.plain,
        "scopes": planned.scopes.len(),
    });
    writeln!(stdout(), "{report}")?;
    tokio::task::spawn_blocking(move || node.close()).await?;
    Ok(())
}
