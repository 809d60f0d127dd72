use proptest::prelude::*;

use super::*;
use crate::merkle::{leaf_hash, verify_inclusion};

fn tile(content: Content, number: u64, width: u16) -> Tile {
    Tile::new(content, number, width).unwrap()
}

/// The examples of tlog-tiles and of tessera's layout tests.
#[test]
fn paths_of_the_specification() {
    let rows = [
        (tile(Content::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(Content::Hashes(0), 0, 256), "tile/0/000"),
        (tile(Content::Hashes(0), 0, 8), "tile/0/000.p/8"),
        (tile(Content::Hashes(0), 273, 112), "tile/0/273.p/112"),
        (tile(Content::Hashes(1), 1, 17), "tile/1/001.p/17"),
        (tile(Content::Hashes(2), 0, 1), "tile/2/000.p/1"),
        (tile(Content::Hashes(3), 1_234_067, 255), "tile/3/x001/x234/067.p/255"),
        (tile(Content::Entries, 456, 256), "tile/entries/456"),
        (tile(Content::Entries, 123_456, 3), "tile/entries/x123/456.p/3"),
        (tile(Content::Entries, 1_000, 256), "tile/entries/x001/000"),
    ];
    for (tile, path) in rows {
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::parse(path), Ok(tile));
    }
}

#[test]
fn nothing_else_is_a_path() {
    let refused = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/00/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/x01/002",
        "tile/0/xx1/002",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/1/2",
        "tile/0/000.p/1.p/2",
        "tile/0/../0/000",
        "tile/0/..",
        "tile/0/%30",
        "tile/entries/000?x",
        "tile/0/ 00",
        "tile/0/٠٠٠",
        "checkpoint",
        "../tile/0/000",
        "tile\\0\\000",
        "tile/0/000\0",
        "tile/Entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/7/001",
        "tile/data/000",
    ];
    for path in refused {
        assert!(matches!(Tile::parse(path), Err(TileError::Path(_))), "{path:?}");
    }
    let long = format!("tile/0/{}", "x001/".repeat(10_000));
    assert!(matches!(Tile::parse(&long), Err(TileError::Path(text)) if text.len() <= PATH_BYTES_MAX));
}

/// The check value of tlog-tiles: a tree of 70,000 entries.
#[test]
fn tiles_of_the_specifications_example() {
    assert_eq!(
        [row(70_000, 0), row(70_000, 1), row(70_000, 2), row(70_000, 3)],
        [(273, 112), (1, 17), (0, 1), (0, 0)]
    );
    let all: Vec<String> = tiles(70_000).map(|tile| tile.path()).collect();
    assert_eq!(all.len(), 2 * 274 + 2 + 1);
    for path in
        ["tile/entries/273.p/112", "tile/0/272", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    {
        assert!(all.iter().any(|found| found == path), "{path}");
    }
    assert_eq!(tiles(0).count(), 0);
    assert_eq!(
        tiles(256).map(|tile| tile.path()).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    );
}

#[test]
fn sizes_at_the_end_of_the_range() {
    assert_eq!(row(u64::MAX, 0), ((1 << 56) - 1, 255));
    assert_eq!(row(u64::MAX, LEVEL_MAX), (0, 255));
    let last = tile(Content::Hashes(0), (1 << 56) - 1, 256);
    assert_eq!(Tile::parse(&last.path()), Ok(last));
    assert_eq!(Tile::new(Content::Hashes(0), 1 << 56, 256), None);
    assert_eq!(Tile::new(Content::Entries, 1 << 56, 256), None);
    assert_eq!(Tile::new(Content::Hashes(8), 0, 1), None);
    assert_eq!([Tile::new(Content::Entries, 0, 0), Tile::new(Content::Entries, 0, 257)], [None, None]);
}

#[test]
fn bundles_hold_their_entries_and_nothing_else() {
    let mut bundle = Vec::new();
    push_entry(&mut bundle, b"").unwrap();
    push_entry(&mut bundle, b"ab").unwrap();
    assert_eq!(bundle, [0, 0, 0, 2, b'a', b'b']);
    assert_eq!(tile(Content::Entries, 0, 2).parse_entries(&bundle), Ok(vec![&b""[..], b"ab"]));
    for (width, met, rest) in [(1, 1, 4), (3, 2, 0)] {
        let refused = tile(Content::Entries, 0, width).parse_entries(&bundle);
        assert_eq!(refused, Err(TileError::Bundle { met, rest, width }));
    }
    let cut = tile(Content::Entries, 0, 2).parse_entries(&bundle[..5]);
    assert_eq!(cut, Err(TileError::Bundle { met: 1, rest: 3, width: 2 }));
    assert_eq!(first_entries(&bundle, 1), Some(&bundle[..2]));
    assert_eq!(first_entries(&bundle, 3), None);
    let mut long = Vec::new();
    push_entry(&mut long, &vec![7; ENTRY_BYTES_MAX]).unwrap();
    assert_eq!(long.len(), 2 + 65_535);
    assert_eq!(push_entry(&mut long, &vec![7; 65_536]), Err(TileError::Entry(65_536)));
}

fn arb_tile() -> impl Strategy<Value = Tile> {
    (0..=LEVEL_MAX + 1, any::<u64>(), 0_u32..64, 1..=256_u16).prop_filter_map(
        "no tile",
        |(level, number, shift, width)| {
            let content = if level > LEVEL_MAX { Content::Entries } else { Content::Hashes(level) };
            Tile::new(content, number >> shift, width)
        },
    )
}

/// RFC 6962's own recursion.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

proptest! {
    #[test]
    fn a_path_names_one_tile(tile in arb_tile()) {
        prop_assert!(tile.path().len() <= PATH_BYTES_MAX);
        prop_assert_eq!(Tile::parse(&tile.path()), Ok(tile));
    }

    #[test]
    fn any_text_is_refused_or_is_a_path(text in "(tile/)?(entries|[0-9]{0,2})?/?([x0-9./p%]{0,20})") {
        if let Ok(tile) = Tile::parse(&text) {
            prop_assert_eq!(tile.path(), text);
        }
    }

    /// Up to 2^40: the rows of a size against their definition, one entry more at a time.
    #[test]
    fn rows_follow_their_definition(size in 0_u64..=1 << 40, level in 0_u8..=LEVEL_MAX) {
        let (full, width) = row(size, level);
        // Every hash of a level stands for so many entries, all of them there.
        let each = 256_u128.pow(u32::from(level));
        let hashes = u128::from(full) * 256 + u128::from(width);
        prop_assert!(width < 256);
        prop_assert!(hashes * each <= u128::from(size) && u128::from(size) < (hashes + 1) * each);
    }

    #[test]
    fn what_is_new_and_what_was_there_are_all(from in 0_u64..3_000, more in 0_u64..3_000, shift in 0_u32..29) {
        let (from, to) = (from << shift, (from << shift) + more);
        let new: Vec<Tile> = tiles_since(from, to).collect();
        let mut unique = new.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), new.len());
        for tile in &new {
            let level = match tile.content() { Content::Hashes(level) => level, Content::Entries => 0 };
            let has = |size| {
                let (full, width) = row(size, level);
                if tile.is_full() { tile.number() < full } else { tile.number() == full && tile.width() == width }
            };
            prop_assert!(has(to) && !has(from), "{tile}");
        }
        if shift == 0 {
            let old = tiles(from).filter(Tile::is_full).count();
            let full = new.iter().filter(|tile| tile.is_full()).count();
            prop_assert_eq!(old + full, tiles(to).filter(Tile::is_full).count());
        }
    }

    #[test]
    fn bundles_survive(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..=256)) {
        let mut bundle = Vec::new();
        for entry in &entries {
            push_entry(&mut bundle, entry).unwrap();
        }
        let width = u16::try_from(entries.len()).unwrap();
        let read = Tile::new(Content::Entries, 0, width).unwrap().parse_entries(&bundle);
        prop_assert_eq!(read.unwrap(), entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(first_entries(&bundle, width), Some(bundle.as_slice()));
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), width in 1_u16..=256) {
        let of = |content| Tile::new(content, 0, width).unwrap();
        if let Ok(entries) = of(Content::Entries).parse_entries(&bytes) {
            prop_assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bytes.len());
        }
        if let Ok(hashes) = of(Content::Hashes(0)).parse_hashes(&bytes) {
            prop_assert_eq!(encode_hashes(&hashes), bytes);
        }
    }
}

/// The tiles of a growing tree are those its sizes have, and their hashes are the tree's.
#[test]
fn an_edge_gives_every_tile_once_and_the_right_root() {
    let leaves: Vec<Digest> = (0..66_000_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let mut edge = Edge::new();
    let mut given = Vec::new();
    assert_eq!(edge.root(), empty_root());
    for leaf in &leaves {
        edge.push(*leaf, |tile, hashes| {
            assert_eq!(hashes.len(), 256);
            given.push((tile, hashes.to_vec()));
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
        let size = edge.size();
        if size < 600 || size.is_multiple_of(4_999) || size == 65_536 || size == 66_000 {
            assert_eq!(edge.root(), naive_root(&leaves[..usize::try_from(size).unwrap()]), "{size}");
            let partial: Vec<Tile> = edge.partial().map(|(tile, _)| tile).collect();
            let expected = tiles(size).filter(|tile| !tile.is_full() && tile.content() != Content::Entries);
            assert_eq!(partial, expected.collect::<Vec<_>>());
            let mut rows: Vec<Vec<Digest>> = (0..=LEVEL_MAX).map(|level| edge.row(level).to_vec()).collect();
            for (tile, hashes) in edge.partial() {
                assert_eq!(hashes.len(), usize::from(tile.width()));
                assert_eq!(rows[usize::from(tile.level())], hashes);
            }
            assert_eq!(Edge::from_rows(size, rows.clone()).unwrap().root(), edge.root());
            assert_eq!(Edge::from_rows(size + 1, rows.clone()), None);
            rows[0].push(*leaf);
            assert_eq!(Edge::from_rows(size, rows), None);
        }
    }
    for (tile, hashes) in &given {
        let Content::Hashes(level) = tile.content() else { panic!("{tile}") };
        let each = 256_usize.pow(level.into());
        let first = usize::try_from(tile.number()).unwrap() * each * 256;
        assert_eq!(hashes[3], naive_root(&leaves[first + 3 * each..first + 4 * each]), "{tile}");
    }
    let full = tiles(66_000).filter(|tile| tile.is_full() && tile.content() != Content::Entries);
    let (mut given, mut full): (Vec<_>, Vec<_>) =
        (given.into_iter().map(|(tile, _)| tile).collect(), full.collect());
    given.sort();
    full.sort();
    assert_eq!(given, full);
    // One proof by another road: a two-leaf tree's root is under the checker of `merkle`.
    let root = naive_root(&leaves[..2]);
    assert_eq!(verify_inclusion(0, 2, &leaves[0], &[leaves[1]], &root), Ok(()));
}
