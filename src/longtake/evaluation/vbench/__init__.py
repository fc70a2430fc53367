"""VBench's six dimensions of video quality, with the official networks, from weights that the user brings.

Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models" (CVPR 2024). Every file's formulas
and preprocessing follow the released code; docs/measures.md says how to get the weights.
"""
