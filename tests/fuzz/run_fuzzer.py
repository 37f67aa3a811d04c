"""A short run of a fuzzer built with fuzz_driver.c: run_fuzzer.py FUZZER SEED [SECONDS].

SEED is a recording, compressed or not, a folder of small files whose form a byte before them says
(fuzz_memory_map's), or a program that writes seeds into a folder (fuzz_kmt's).
"""

import os
import subprocess
import sys
import tempfile

SEED_BYTES = 16384
FORMS = 10
READERS = {".zst": ["zstd", "-dcq"], ".xz": ["xz", "-dc"], ".gz": ["gzip", "-dc"]}


def unpacked(path):
    reader = READERS.get(os.path.splitext(path)[1])
    if not reader:
        with open(path, "rb") as plain:
            return plain.read()
    return subprocess.run([*reader, path], stdout=subprocess.PIPE, check=True).stdout


def seeds(source, folder):
    """Files in the folder, and the option that turns them into inputs."""
    if os.path.isdir(source):
        paths = []
        for name in sorted(os.listdir(source)):
            with open(os.path.join(source, name), "rb") as file:
                content = file.read(SEED_BYTES)
            for form in range(FORMS):
                paths.append(os.path.join(folder, f"{name}-{form}"))
                with open(paths[-1], "wb") as out:
                    out.write(bytes([form]) + content)
        return paths, []
    if os.access(source, os.X_OK):
        subprocess.run([source, folder], check=True)
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))], []
    content = unpacked(source)
    # A whole binary, and a beginning and a middle of a text.
    pieces = [content[:SEED_BYTES], content[:2000]]
    if b"\0" not in content[:SEED_BYTES]:
        middle = content.find(b"\n", len(content) // 2) + 1
        pieces.append(content[middle:middle + 4000])
    paths = []
    for number, piece in enumerate(pieces):
        paths.append(os.path.join(folder, str(number)))
        with open(paths[-1], "wb") as out:
            out.write(piece)
    return paths, None


def main():
    fuzzer, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    seconds = sys.argv[3] if len(sys.argv) > 3 else "10"
    with tempfile.TemporaryDirectory() as folder:
        paths, options = seeds(source, os.path.join(folder, ""))
        runs = [options] if options is not None else [["--prefix", "0"], ["--prefix", "1"]]
        for extra in runs:
            share = str(float(seconds) / len(runs))
            done = subprocess.run([fuzzer, "--seconds", share, *extra, *paths], cwd=folder,
                                  check=False)
            if done.returncode:
                finding = os.path.join(folder, "fuzz-finding")
                kept = os.path.join(tempfile.gettempdir(),
                                    f"{os.path.basename(fuzzer)}-finding")
                if os.path.exists(finding):
                    os.replace(finding, kept)
                sys.exit(f"{fuzzer}: {done.returncode}; the input is in {kept}")


if __name__ == "__main__":
    main()
