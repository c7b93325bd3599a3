"""The demo: a synthetic plant, a camera and a scripted annotator; outsiders that use only public doors."""
