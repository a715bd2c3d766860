"""A bare timing loop, as one writes it by hand: plain torch and transformers, nothing of bertbench's.

A script. It takes one JSON order a line on stdin and answers each with one JSON line on stdout:

    {"folders": {"base": "…"}, "threads": 2}                          -> "ready"
    {"model": "base", "ids": [[5, 6]], "lead": 2, "passes": 3, "min_s": 0.03}  -> [seconds of the lead, seconds of the passes]
"""

import json
import sys
import time

import torch
import transformers


def seconds_of(model, ids, lead, passes, min_s):
    """Seconds of passes one right after the other: `lead` of them first, then `passes` or more until `min_s` are over."""
    input_ids = torch.tensor(ids)
    batch = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    seconds = []
    with torch.inference_mode():
        while len(seconds) < lead + passes or sum(seconds[lead:]) < min_s:
            start = time.perf_counter()
            model(**batch)
            end = time.perf_counter()
            seconds.append(end - start)
    return seconds[:lead], seconds[lead:]


def main():
    """Obey until stdin ends."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    models = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "folders" in order:
            torch.set_num_threads(order["threads"])
            for name, folder in order["folders"].items():
                models[name] = transformers.AutoModel.from_pretrained(folder).eval()
            answer = "ready"
        else:
            answer = seconds_of(models[order.pop("model")], **order)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
