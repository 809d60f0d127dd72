use super::*;

fn said(status: u32, stderr: &str) -> Option<bool> {
    verified(&Answer::Output { status, stdout: vec![], stderr: stderr.as_bytes().to_vec() }, "412")
}

#[test]
fn the_code_and_the_words_have_to_agree() {
    let well = "+412: valid on disk\n+412: satisfies its Designated Requirement\n+412: explicit requirement satisfied\n";
    assert_eq!(said(0, well), Some(true));
    assert_eq!(said(0, &well.replace('+', "")), Some(true));
    assert_eq!(said(0, &well.replace("412", "413")), None);
    assert_eq!(said(0, ""), None);
    assert_eq!(said(0, well.trim_end()), None);
    assert_eq!(said(1, well), None);
    let other =
        "+412: valid on disk\ntest-requirement: code failed to satisfy specified code requirement(s)\n";
    assert_eq!(said(3, other), Some(false));
    assert_eq!(said(0, other), None);
    assert_eq!(said(1, "+412: code object is not signed at all\n"), Some(false));
    assert_eq!(said(1, "+412: No such process\n"), None);
}

#[test]
fn the_requirement_names_every_team_of_the_product() {
    let catalogue = crate::Catalogue::bundled().unwrap();
    let of = |id: &str| {
        let product = catalogue.products.iter().find(|p| p.id == id).unwrap().macos.as_ref().unwrap();
        question(product, "7").map(|question| question.to_string())
    };
    assert_eq!(
        of("kolide-launcher").unwrap(),
        "run codesign --verify --verbose=2 -R=anchor apple generic and \
         (certificate leaf[subject.OU] = \"X98UFR7HA3\" or certificate leaf[subject.OU] = \"YZ3EM74M78\") +7"
    );
    assert_eq!(of("carbon-black-cloud"), None);
}
