"""Programs for graphics processors, in Triton.

Nothing here is imported before tensors on CUDA ask for it. Every program is exact and
deterministic: no atomic additions, sums in a fixed order. All of them have been run in Triton's
interpreter and compiled for sm_80, sm_90 and sm_100; ``docs/kernels.md`` says what was measured.
"""
