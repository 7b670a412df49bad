"""May a volume be made, made anew, or what was made of it be taken away?"""
