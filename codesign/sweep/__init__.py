"""Design-space sweeps: from a description to points, to results in a store, to the Pareto front.

`spec` describes a sweep, `space` lists its points, `engine` has them computed by `local_pool` or `dask_cluster` and
kept by `store`, `search` chooses them as it goes, `view` reads them back as flat rows, `pareto` finds the best.
"""
