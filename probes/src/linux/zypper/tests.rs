use super::security_patches;

const ONE: &str = r#"<?xml version='1.0'?>
<stream>
<message type="info">Loading repository data...</message>
<update-status version="0.6">
<update-list>
<update name="openSUSE-SLE-15.5-2023-1" edition="1" arch="noarch" status="needed" category="security" severity="important" pkgmanager="false" restart="false" interactive="false" kind="patch">
<summary>Security update for x</summary>
</update>
</update-list>
<blocked-update-list>
</blocked-update-list>
</update-status>
</stream>
"#;

#[test]
fn security_patches_are_counted() {
    assert_eq!(security_patches(ONE), Some(1));
    let none = "<?xml version='1.0'?>\n<stream>\n<update-status version=\"0.6\">\n<update-list>\n</update-list>\n</update-status>\n</stream>\n";
    assert_eq!(security_patches(none), Some(0));
}

#[test]
fn a_list_that_is_not_whole_is_no_list() {
    for end in 0..ONE.trim_end().len() {
        assert_eq!(security_patches(ONE.get(..end).unwrap()), None, "cut at {end}");
    }
    for gone in
        ["</update>\n", "<update-list>\n", "</update-list>\n", "<stream>\n", "<?xml version='1.0'?>\n"]
    {
        assert_eq!(security_patches(&ONE.replacen(gone, "", 1)), None, "without {gone}");
    }
    assert_eq!(security_patches(&ONE.replace("category=\"security\"", "category=\"recommended\"")), None);
    assert_eq!(security_patches(""), None);
}
