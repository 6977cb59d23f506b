"""What the tests share with those of the search: a problem that takes milliseconds."""

from spikeport.tests.search.conftest import blobs, blobs_npz

__all__ = ["blobs", "blobs_npz"]
