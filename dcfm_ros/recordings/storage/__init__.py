"""The files of a bag, sound or damaged: which messages lie in them, and these in the order of receipt.

What lies beside the topics that are asked for (other topics, their definitions, QoS, the profile) is never looked at.
"""
