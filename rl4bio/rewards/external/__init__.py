"""Programs and services outside the package that score molecules; docs/external_scorers.md.

    failures   why a molecule has no score, and how often that is said
    watcher    child processes die with their parent, however it dies
    process    a child process that is spoken to in lines, under a deadline
    endpoint   an HTTP service that is spoken to in lines, under a deadline
    protocol   requests and answers as JSON lines
    engines    a command or an endpoint that answers a batch
    scorer     batches, several at once, asked again where they fail
    cache      scores on disk

`process` and `watcher` know nothing of molecules.
"""
