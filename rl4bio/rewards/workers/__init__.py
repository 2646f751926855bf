"""Rewards as guests: in processes of their own, which may hang, crash or leak; docs/reliability.md.

frames    messages over a socket
orphans   what a guest has started, wherever it went
server    the guest's side: imports the reward once, and forks a worker that scores
guest     our side of a reward: batches, another worker where one is lost, the policy on errors
"""
