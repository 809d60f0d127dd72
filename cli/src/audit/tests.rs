use evidence::ids::EngagementId;

use super::*;
use crate::table::WIDTH_COLUMNS;

#[test]
fn a_list_of_plans_fits_and_has_every_hash_whole() {
    let rows: Vec<PlanRow> = (0..3)
        .map(|n| PlanRow {
            plan_hash: vec![n; 32],
            engagement: EngagementId::from_bytes([n; 16]).to_string(),
            controls: ["disk-encryption", "edr", "os-patch", "screen-lock"].map(str::to_owned).to_vec(),
            stage: "committed".to_owned(),
            plan_index: 12_345_678,
            population: vec![1_000_000; 4],
        })
        .collect();
    let mut out = Vec::new();
    plan_table(&rows).write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH_COLUMNS), "{text}");
    for row in &rows {
        assert!(text.contains(&data_encoding::HEXLOWER.encode(&row.plan_hash)), "{text}");
        assert!(text.contains(&row.engagement), "{text}");
    }
}
