"""Images of tasks from wherever Label Studio has them: read the address, ask only whom the settings allow, remember what came.

    resolve ─► address ─► allow ─► fetch (dial) | bucket | document_root | inline ─► cache, memory

`resolve.Resolver` is what others use. docs/decisions/allow-list-for-images.md says why it is closed by default.
"""
