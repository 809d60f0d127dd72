"""The files of a set, read without following links and without trusting any size or name."""

import os
import stat

from .canonical import Bad

FILE_BYTES_MAX = 1 << 30
FILES_MAX = 5_000_000
FOLDER_DEPTH_MAX = 8  # section 11 needs 4


class SetFolder:
    """A listing of the set made once; only regular files found then can be read."""

    def __init__(self, root):
        """Raises OSError if the folder itself cannot be read."""
        self.root = root
        self.sizes = {}  # path -> bytes
        self.faults = []  # what check 1 has to refuse
        with os.scandir(root):
            pass
        self._scan()

    def _scan(self):
        waiting = [("", 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(os.path.join(self.root, folder)) as rows:
                    entries = sorted(rows, key=lambda row: row.name)
            except OSError:
                self.faults.append("folder %s cannot be read" % folder)
                continue
            for row in entries:
                path = folder + row.name
                try:
                    info = row.stat(follow_symlinks=False)
                except OSError:
                    self.faults.append("%s cannot be read" % path)
                    continue
                if stat.S_ISREG(info.st_mode):
                    self.sizes[path] = info.st_size
                elif stat.S_ISDIR(info.st_mode) and depth < FOLDER_DEPTH_MAX:
                    waiting.append((path + "/", depth + 1))
                else:
                    self.faults.append("%s is not a regular file" % path)
                if len(self.sizes) > FILES_MAX:
                    self.faults.append("more than %d files" % FILES_MAX)
                    return

    def has(self, path):
        """Whether the set holds that file."""
        return path in self.sizes

    def read(self, path):
        """The bytes of a file of the set."""
        if path not in self.sizes:
            raise Bad("%s is missing" % path)
        if self.sizes[path] > FILE_BYTES_MAX:
            raise Bad("%s is larger than %d bytes" % (path, FILE_BYTES_MAX))
        try:
            handle = os.open(os.path.join(self.root, path), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(handle, "rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise Bad("%s cannot be read" % path) from error
        if len(data) > FILE_BYTES_MAX:
            raise Bad("%s is larger than %d bytes" % (path, FILE_BYTES_MAX))
        return data

    def under(self, folder):
        """The paths below a folder (named with its final slash), without it, ascending."""
        return sorted(path[len(folder) :] for path in self.sizes if path.startswith(folder))

    def need_exactly(self, folder, names):
        """Raises unless the folder holds exactly these files."""
        have, want = set(self.under(folder)), set(names)
        for name in sorted(want - have):
            raise Bad("%s%s is missing" % (folder, name))
        for name in sorted(have - want):
            raise Bad("%s%s does not belong there" % (folder, name))
