"""Results in buckets: S3, Azure Blob Storage and Google Cloud Storage.

`bucket` talks to a bucket, `mirror` keeps a local folder like it, `files` opens the files of either. Every reader of a
format reads folders, so a bucket is mirrored into a folder of the cache rather than hidden behind a file system of our
own: local folders are read as before, at the same speed. Large files that are rarely read whole (screenshots, ``.eval``
archives) are placeholders there: they have the right size and time, and their content is fetched when it is asked for.
"""
