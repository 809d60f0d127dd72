use evidence::tiles::{Content, push_entry};
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use super::*;

/// A tree with a full bundle, a partial one, and a checkpoint; and a file beside it that nobody may get.
fn tree() -> (tempfile::TempDir, Arc<Tree>) {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("secret"), b"secret").unwrap();
    let mut folder = Folder::new(&parent.path().join("tree"));
    folder.prepare().unwrap();
    let mut bundle = Vec::new();
    for byte in 0..=255_u8 {
        push_entry(&mut bundle, &[byte]).unwrap();
    }
    folder.put(&Tile::new(Content::Entries, 0, 256).unwrap(), &bundle).unwrap();
    folder.put(&Tile::new(Content::Hashes(0), 0, 256).unwrap(), &[7; 8192]).unwrap();
    folder.put(&Tile::new(Content::Hashes(0), 1, 2).unwrap(), &[8; 64]).unwrap();
    folder.put_checkpoint(b"a note\n").unwrap();
    let tree = Tree { folder: Folder::new(folder.root()), reads: Semaphore::new(1) };
    (parent, Arc::new(tree))
}

async fn get(tree: &Arc<Tree>, method: &str, path: &str) -> (u16, String, String, Vec<u8>) {
    let request = hyper::Request::builder().method(method).uri(path).body(()).unwrap();
    let response = tree.answer(&request).await;
    let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (kind, caching) = (header(CONTENT_TYPE), header(CACHE_CONTROL));
    let status = response.status().as_u16();
    (status, kind, caching, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn what_there_is_has_its_headers() {
    let (_parent, tree) = tree();
    let (status, kind, caching, body) = get(&tree, "GET", "/checkpoint").await;
    assert_eq!(
        (status, kind.as_str(), body.as_slice()),
        (200, "text/plain; charset=utf-8", &b"a note\n"[..])
    );
    assert_eq!(caching, "public, max-age=2");
    for (path, bytes) in [
        ("/tile/0/000", vec![7; 8192]),
        ("/tile/0/001.p/2", vec![8; 64]),
        ("/tile/0/000.p/3", vec![7; 96]),
        ("/tile/entries/000.p/2", vec![0, 1, 0, 0, 1, 1]),
        ("/tile/0/000?x=1", vec![7; 8192]),
    ] {
        let (status, kind, caching, body) = get(&tree, "GET", path).await;
        assert_eq!((status, kind.as_str()), (200, "application/octet-stream"), "{path}");
        assert_eq!(caching, "public, max-age=31536000, immutable");
        assert_eq!(body, bytes, "{path}");
    }
    let request = hyper::Request::builder().method("HEAD").uri("/tile/0/000").body(()).unwrap();
    let response = tree.answer(&request).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()[CONTENT_LENGTH].as_bytes()),
        (200, &b"8192"[..])
    );
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn everything_else_is_not_there() {
    let (_parent, tree) = tree();
    for path in [
        "/",
        "//checkpoint",
        "/checkpoint/",
        "/tile",
        "/tile/0/001",
        "/tile/0/001.p/3",
        "/tile/1/000",
        "/tile/0/000/",
        "/../secret",
        "/tile/../../secret",
        "/tile/0/../../../secret",
        "/%2e%2e/secret",
        "/tile/0/%30%30%30",
        "/.new/0",
        "/tile/0",
        "/secret",
        "/tile/0/000.p/256",
    ] {
        let (status, _, caching, _) = get(&tree, "GET", path).await;
        assert_eq!((status, caching.as_str()), (404, "no-store"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        assert_eq!(get(&tree, method, "/checkpoint").await.0, 405);
    }
}

proptest! {
    /// Whatever is asked for, what comes is one of the tree's own files or nothing.
    #[test]
    fn no_path_leaves_the_tree(path in "/((tile|entries|\\.\\.|checkpoint|secret|0|000|%2e|\\.p|[a-z0-9./%\\\\]{0,6})/?){0,6}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_parent, tree) = tree();
        let Ok(request) = hyper::Request::builder().uri(&path).body(()) else { return Ok(()) };
        let (status, body) = runtime.block_on(async {
            let response = tree.answer(&request).await;
            (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
        });
        prop_assert!(status == 200 || status == 404);
        prop_assert!(body.as_ref() != b"secret");
    }
}
