"""The door for files that others wrote. It imports nothing of spikeport but `errors` and `path_kind`.

What is promised of every file that comes through it, whatever its bytes:

- Nothing outside the file is read: no link to another file is followed, at no level, and no numbers are taken from one.
- The process lives on. HDF5, whose library can be made to crash or to run for ever, is read by a process of its own
  (`hdf5.py`), with limits on its memory and time, that can open no further file once it has opened this one.
- Memory is bounded: by the file's own size where its bytes are stored as they are, and else by the limits that stand in
  the modules here. They are checked against what the file declares before anything is unpacked.
- Nothing is unpickled, imported or run.
- A file that is damaged, too large or of another kind ends in an `InputError` that names it.
"""
