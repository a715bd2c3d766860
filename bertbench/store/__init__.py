"""The results folder: sessions with their records and parquet sidecars, written so that nothing is lost.

    results/sessions/<session id>/session.json      what was asked, and whether it is complete
    results/sessions/<session id>/<run id>.json     one record a run
    results/sessions/<session id>/*.parquet         raw timings and predictions, written before their record
    results/checkpoints/<key>/                      fine-tuned checkpoints
    results/index.sqlite                            what is in which session; disposable, and rebuilt when stale
    results/.bertbench-store                        the mark by which `gc` knows a results folder

Every file is written beside its place, synced and then renamed. What cannot be read is skipped with a warning that
names it. A results folder may be a stranger's: nothing in it may be a link, and no name in a record leads out of it.
"""

from bertbench.store.files import SESSION_FILE, from_json, mode_of, now, sync, to_json, write_atomically
from bertbench.store.folder import MINIMUM_FREE_BYTES, Store, StoredSession, covers, new_session_id, newest
from bertbench.store.sidecars import read_sidecar

__all__ = [
    "MINIMUM_FREE_BYTES",
    "SESSION_FILE",
    "Store",
    "StoredSession",
    "covers",
    "from_json",
    "mode_of",
    "new_session_id",
    "newest",
    "now",
    "read_sidecar",
    "sync",
    "to_json",
    "write_atomically",
]
