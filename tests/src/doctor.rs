//! What `tallystick-agent doctor` says, by check.

use serde_json::Value;

use crate::process::Ran;

/// The answer of one run.
#[derive(Debug)]
pub struct Examined {
    /// Its exit code.
    pub code: Option<i32>,
    checks: Vec<Value>,
}

impl Examined {
    /// Of `doctor --json`, which says the same by its code and its result.
    #[track_caller]
    pub fn of(ran: Ran) -> Self {
        let value: Value = serde_json::from_str(ran.out.trim())
            .unwrap_or_else(|error| panic!("{}: {error}:\n{}\n{}", ran.line, ran.out, ran.err));
        let checks = value["checks"].as_array().expect("checks").clone();
        let failed = checks.iter().any(|check| check["outcome"] == "failed");
        let (code, word) = if failed { (1, "failed") } else { (0, "ok") };
        assert_eq!(ran.code, Some(code), "{value}");
        assert_eq!(value["result"], word, "{value}");
        for check in checks.iter().filter(|check| check["outcome"] == "failed") {
            assert_ne!(check["next"], "", "a failure says what to do: {check}");
        }
        Self { code: ran.code, checks }
    }

    /// The names of what failed.
    pub fn failed(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|check| check["outcome"] == "failed");
        failed.filter_map(|check| check["name"].as_str()).collect()
    }

    /// One check: how it ended, and what was found with what to do.
    #[track_caller]
    pub fn check(&self, name: &str) -> (&str, String) {
        let found = self.checks.iter().find(|check| check["name"] == name);
        let check = found.unwrap_or_else(|| panic!("no {name} in {:?}", self.checks));
        let text = |key: &str| check[key].as_str().expect("text");
        (text("outcome"), format!("{} -> {}", text("detail"), text("next")))
    }
}
