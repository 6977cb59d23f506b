# runs in Lava's Python 3.10
"""Time stock lava-dl per step: no layer is recorded, only the last one's spikes are taken out.

    python lava_clock.py NETWORK.net SPIKES.npy STEPS

SPIKES.npy: uint8 [T, C, H, W], the spikes of the file's input layer. Prints JSON: the seconds of STEPS steps, twice;
starting Lava's processes and their first steps are not in it.
"""

import json
import sys
import time

import numpy as np
from lava.lib.dl.netx.hdf5 import Network
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

if __name__ == "__main__":
    spikes, steps = np.load(sys.argv[2]), int(sys.argv[3])
    net = Network(net_config=sys.argv[1], skip_layers=1, reset_interval=len(spikes), reset_offset=1)
    source = Source(data=np.ascontiguousarray(spikes.transpose(3, 2, 1, 0)).astype(np.int32))
    sink = Sink(shape=net.out.shape, buffer=2 * steps + len(net.layers))
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    seconds = []
    try:
        net.run(condition=RunSteps(num_steps=len(net.layers)), run_cfg=config)  # until spikes reach the last layer
        for _ in range(2):
            start = time.perf_counter()
            net.run(condition=RunSteps(num_steps=steps), run_cfg=config)
            seconds.append(time.perf_counter() - start)
    finally:
        net.stop()
    print(json.dumps({"seconds": seconds}))
