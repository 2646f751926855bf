"""`python -m rl4bio.affinity`: the command `rl4bio affinity`, under the name that it has there."""

from __future__ import annotations

from rl4bio.affinity_command import main

raise SystemExit(main())
