"""Write the JSON schemas of a run directory's files anew: python docs/schemas.py"""

from __future__ import annotations

import json
from pathlib import Path

from xkd_eval.study.records import protocol_schema, summary_schema

for name, schema in (("protocol", protocol_schema()), ("summary", summary_schema())):
    text = json.dumps(schema, indent=2)
    (Path(__file__).parent / f"{name}.schema.json").write_text(f"{text}\n")
