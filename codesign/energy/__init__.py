"""The energy model: what the machine does, counted in integers, times what each action costs.

`actions` counts (multiplications, register and buffer bits, DRAM bits ...); `technology` holds the energies of
a process as read from `tables/*.yaml`; `table` prices every action for one architecture, `ert` exchanges that
table with Accelergy; `estimate` multiplies the two; `calibration` shows where the FPGA's factors come from.
"""
