"""Models whose text goes through attention beside the picture: CogVideoX, HunyuanVideo, Kandinsky 5, Motif-Video."""
